package daemon;

import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetSocketAddress;

/** A daemon as jsvc takes it without any interface: serves port 80, says what is called. */
public class Plain {
    private HttpServer server;

    /** Binds the port of the first argument. */
    public void init(String[] arguments) throws IOException {
        say("init " + String.join(",", arguments));
        if (arguments[0].equals("broken")) {
            throw new IllegalStateException("broken init");
        }
        server = HttpServer.create(new InetSocketAddress(Integer.parseInt(arguments[0])), 0);
        server.createContext("/", exchange -> {
            byte[] body = "daemon\n".getBytes();
            exchange.sendResponseHeaders(200, body.length);
            exchange.getResponseBody().write(body);
            exchange.close();
            asked(exchange.getRequestURI().getPath());
        });
    }

    /** Begins to serve. */
    public void start() {
        say("start");
        server.start();
    }

    /** Ends that. */
    public void stop() {
        say("stop");
        server.stop(0);
    }

    /** The last call. */
    public void destroy() {
        say("destroy");
    }

    /** Is told the path of each request. */
    void asked(String path) {}

    static void say(String text) {
        System.out.println(text + " on " + Thread.currentThread().getName());
    }
}
