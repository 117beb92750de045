import io.helidon.webserver.Routing;
import io.helidon.webserver.WebServer;

/** Helidon 3 with one page. */
public class Helidon3Main {
    public static void main(String[] args) {
        WebServer.builder()
                .port(Integer.parseInt(args[0]))
                .routing(Routing.builder().get("/", (request, response) -> response.send("helidon")))
                .build()
                .start();
    }
}
