import java.net.InetSocketAddress;
import org.java_websocket.WebSocket;
import org.java_websocket.handshake.ClientHandshake;
import org.java_websocket.server.WebSocketServer;

/** Java-WebSocket: an echo. */
public class WebSocketMain extends WebSocketServer {
    WebSocketMain(int port) {
        super(new InetSocketAddress(port));
        setReuseAddr(true);
    }

    @Override
    public void onOpen(WebSocket connection, ClientHandshake handshake) {
    }

    @Override
    public void onClose(WebSocket connection, int code, String reason, boolean remote) {
    }

    @Override
    public void onMessage(WebSocket connection, String message) {
        connection.send(message);
    }

    @Override
    public void onError(WebSocket connection, Exception error) {
        error.printStackTrace();
    }

    @Override
    public void onStart() {
    }

    public static void main(String[] args) {
        new WebSocketMain(Integer.parseInt(args[0])).run();
    }
}
