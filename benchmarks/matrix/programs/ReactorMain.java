import reactor.core.publisher.Mono;
import reactor.netty.http.server.HttpServer;

/** Reactor Netty with one page. */
public class ReactorMain {
    public static void main(String[] args) {
        HttpServer.create()
                .port(Integer.parseInt(args[0]))
                .route(routes -> routes.get("/", (request, response) -> response.sendString(Mono.just("reactor"))))
                .bindNow()
                .onDispose()
                .block();
    }
}
