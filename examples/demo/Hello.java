import com.sun.net.httpserver.HttpServer;
import java.net.InetSocketAddress;

/** The smallest HTTP server that the JDK has; it knows nothing of jvmbind. */
public class Hello {
    public static void main(String[] arguments) throws Exception {
        int port = Integer.parseInt(arguments[0]);
        HttpServer server = HttpServer.create(new InetSocketAddress(port), 0);
        server.createContext("/", exchange -> {
            String text = "JDK HttpServer on port " + port + ", as user " + System.getProperty("user.name") + "\n";
            exchange.sendResponseHeaders(200, text.length());
            exchange.getResponseBody().write(text.getBytes());
            exchange.close();
        });
        server.start();
    }
}
