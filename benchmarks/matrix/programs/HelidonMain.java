import io.helidon.webserver.WebServer;

/** Helidon 4 with one page. */
public class HelidonMain {
    public static void main(String[] args) {
        WebServer.builder()
                .port(Integer.parseInt(args[0]))
                .routing(routing -> routing.get("/", (request, response) -> response.send("helidon")))
                .build()
                .start();
    }
}
