package probe;

import java.nio.channels.SelectionKey;
import java.nio.channels.Selector;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;

/**
 * Serves HTTP from a selector: HOST PORT early|late. With "early" the channel is registered with the selector, and
 * its descriptor with the selector's epoll instance, before it is bound, as Netty does it.
 */
public final class SelectorServer {
    private SelectorServer() {}

    public static void main(String[] args) throws Exception {
        boolean early = args[2].equals("early");
        Selector selector = Selector.open();
        ServerSocketChannel server = ServerSocketChannel.open();
        server.configureBlocking(false);
        if (early) {
            server.register(selector, SelectionKey.OP_ACCEPT);
            // The JDK tells epoll at the next select only. An unbound socket reports a hang-up: not of interest here.
            selector.selectNow();
            selector.selectedKeys().clear();
        }
        server.bind(Wire.address(args[0], Integer.parseInt(args[1])));
        Wire.say("BOUND " + server.getLocalAddress());
        if (!early) {
            server.register(selector, SelectionKey.OP_ACCEPT);
        }
        new Thread(() -> loop(selector), "selector").start();
        Wire.say("READY");
    }

    private static void loop(Selector selector) {
        try {
            while (true) {
                selector.select();
                for (SelectionKey key : selector.selectedKeys()) {
                    if (key.isAcceptable()) {
                        SocketChannel connection = ((ServerSocketChannel) key.channel()).accept();
                        if (connection != null) {
                            connection.configureBlocking(true);
                            Wire.serve(connection, "selector remote=" + connection.getRemoteAddress());
                        }
                    }
                }
                selector.selectedKeys().clear();
            }
        } catch (Exception e) {
            Wire.say("ACCEPT-FAILED " + Wire.failure(e));
        }
    }
}
