import java.io.PrintStream;
import java.net.InetSocketAddress;
import org.simpleframework.http.Request;
import org.simpleframework.http.Response;
import org.simpleframework.http.core.Container;
import org.simpleframework.http.core.ContainerSocketProcessor;
import org.simpleframework.transport.connect.SocketConnection;

/** Simple with one page. */
public class SimpleMain implements Container {
    @Override
    public void handle(Request request, Response response) {
        try (PrintStream body = response.getPrintStream()) {
            body.print("simple");
        } catch (java.io.IOException gone) {
            System.err.println(gone);
        }
    }

    public static void main(String[] args) throws Exception {
        new SocketConnection(new ContainerSocketProcessor(new SimpleMain())).connect(new InetSocketAddress(Integer.parseInt(args[0])));
    }
}
