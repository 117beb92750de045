import java.util.Map;
import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.EnableAutoConfiguration;
import org.springframework.context.annotation.Import;
import org.springframework.web.bind.annotation.GetMapping;
import org.springframework.web.bind.annotation.RestController;

/** Spring Boot with one page; the container is the one on the class path. */
@EnableAutoConfiguration
@Import(BootMvc.Page.class)
public class BootMvc {
    /** The page. */
    @RestController
    public static class Page {
        @GetMapping("/")
        public String page() {
            return "boot";
        }
    }

    public static void main(String[] args) {
        SpringApplication application = new SpringApplication(BootMvc.class);
        application.setDefaultProperties(Map.of("server.port", args[0]));
        application.run();
    }
}
