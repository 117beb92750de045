package servers;

import io.undertow.Undertow;

/** Undertow as its documentation starts it: HOST PORT. */
public final class UndertowServer {
    private UndertowServer() {}

    public static void main(String[] args) {
        Undertow server = Undertow.builder()
                .addHttpListener(Integer.parseInt(args[1]), args[0])
                .setHandler(exchange -> exchange.getResponseSender().send("undertow " + exchange.getRequestPath() + "\n"))
                .build();
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            server.stop();
            System.out.println("undertow stopped");
        }));
        server.start();
        System.out.println("undertow on " + server.getListenerInfo());
    }
}
