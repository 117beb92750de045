import io.undertow.Undertow;

/** Undertow with one page. */
public class UndertowMain {
    public static void main(String[] args) {
        Undertow.builder()
                .addHttpListener(Integer.parseInt(args[0]), "0.0.0.0")
                .setHandler(exchange -> exchange.getResponseSender().send("undertow"))
                .build()
                .start();
    }
}
