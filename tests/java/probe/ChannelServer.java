package probe;

import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;

/** Serves HTTP from a blocking ServerSocketChannel: HOST PORT [HOST PORT ...], one thread each. */
public final class ChannelServer {
    private ChannelServer() {}

    public static void main(String[] args) throws Exception {
        for (int i = 0; i < args.length; i += 2) {
            ServerSocketChannel server = ServerSocketChannel.open();
            server.bind(Wire.address(args[i], Integer.parseInt(args[i + 1])));
            Wire.say("BOUND " + server.getLocalAddress() + " blocking=" + server.isBlocking());
            new Thread(() -> accept(server), "accept-" + args[i + 1]).start();
        }
        Wire.say("READY");
    }

    private static void accept(ServerSocketChannel server) {
        try {
            while (true) {
                SocketChannel connection = server.accept();
                String body = "channel local=" + connection.getLocalAddress() + " remote=" + connection.getRemoteAddress();
                Wire.serve(connection, body);
            }
        } catch (Exception e) {
            Wire.say("ACCEPT-FAILED " + Wire.failure(e));
        }
    }
}
