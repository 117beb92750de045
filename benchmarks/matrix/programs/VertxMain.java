import io.vertx.core.Vertx;
import io.vertx.core.VertxOptions;

/** Vert.x with one page. */
public class VertxMain {
    public static void main(String[] args) {
        Vertx.vertx(new VertxOptions().setPreferNativeTransport(true))
                .createHttpServer()
                .requestHandler(request -> request.response().end("vertx"))
                .listen(Integer.parseInt(args[0]));
    }
}
