import io.dropwizard.core.Application;
import io.dropwizard.core.Configuration;
import io.dropwizard.core.setup.Environment;
import jakarta.ws.rs.GET;
import jakarta.ws.rs.Path;

/** Dropwizard with one page. */
public class DropwizardMain extends Application<Configuration> {
    /** The page. */
    @Path("/")
    public static class Page {
        @GET
        public String page() {
            return "dropwizard";
        }
    }

    @Override
    public void run(Configuration configuration, Environment environment) {
        environment.jersey().register(new Page());
    }

    public static void main(String[] args) throws Exception {
        new DropwizardMain().run(args);
    }
}
