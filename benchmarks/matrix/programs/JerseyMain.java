import jakarta.ws.rs.GET;
import jakarta.ws.rs.Path;
import java.net.URI;
import org.glassfish.jersey.jdkhttp.JdkHttpServerFactory;
import org.glassfish.jersey.server.ResourceConfig;

/** Jersey on the JDK's own HTTP server. */
@Path("/")
public class JerseyMain {
    @GET
    public String page() {
        return "jersey";
    }

    public static void main(String[] args) {
        JdkHttpServerFactory.createHttpServer(URI.create("http://0.0.0.0:" + args[0] + "/"), new ResourceConfig(JerseyMain.class));
    }
}
