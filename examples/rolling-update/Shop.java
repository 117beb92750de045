import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.Executors;
import java.util.concurrent.atomic.AtomicLong;

/** A server as many are: it binds port 80, some of its answers take a while, and it knows nothing of updates or of an end. */
public final class Shop {
    private static final AtomicLong ASKED = new AtomicLong();

    private Shop() {}

    public static void main(String[] args) throws IOException {
        String version = System.getProperty("version", "none");
        HttpServer server = HttpServer.create(new InetSocketAddress(80), 0);
        server.createContext("/", exchange -> {
            try {
                // One answer in twenty is a report, and takes two seconds.
                Thread.sleep(ASKED.incrementAndGet() % 20 == 0 && exchange.getRequestURI().getPath().equals("/buy") ? 2000 : 5);
            } catch (InterruptedException ended) {
                Thread.currentThread().interrupt();
            }
            byte[] body = ("sold by " + version + "\n").getBytes(StandardCharsets.UTF_8);
            exchange.sendResponseHeaders(200, body.length);
            exchange.getResponseBody().write(body);
            exchange.close();
        });
        server.setExecutor(Executors.newCachedThreadPool());
        server.start();
    }
}
