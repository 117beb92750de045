import java.util.List;
import org.microhttp.EventLoop;
import org.microhttp.Header;
import org.microhttp.Options;
import org.microhttp.OptionsBuilder;
import org.microhttp.Response;

/** Microhttp with one page. */
public class MicrohttpMain {
    public static void main(String[] args) throws Exception {
        Options options = OptionsBuilder.newBuilder().withHost("0.0.0.0").withPort(Integer.parseInt(args[0])).build();
        Response page = new Response(200, "OK", List.of(new Header("Content-Type", "text/plain")), "microhttp".getBytes());
        EventLoop loop = new EventLoop(options, (request, callback) -> callback.accept(page));
        loop.start();
        loop.join();
    }
}
