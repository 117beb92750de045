package probe;

import java.net.ServerSocket;
import java.net.Socket;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;

/**
 * Binds, serves one client and closes, ROUNDS times, as a server's connector stop and start does:
 * HOST PORT ROUNDS channel|socket. Ends with "DONE".
 */
public final class Rebind {
    private Rebind() {}

    public static void main(String[] args) throws Exception {
        int port = Integer.parseInt(args[1]);
        int rounds = Integer.parseInt(args[2]);
        for (int round = 1; round <= rounds; round++) {
            if (args[3].equals("channel")) {
                try (ServerSocketChannel server = ServerSocketChannel.open().bind(Wire.address(args[0], port))) {
                    Wire.say("BOUND " + round);
                    SocketChannel connection = server.accept();
                    Wire.serve(connection, "round " + round);
                }
            } else {
                try (ServerSocket server = new ServerSocket()) {
                    server.bind(Wire.address(args[0], port));
                    Wire.say("BOUND " + round);
                    Socket connection = server.accept();
                    Wire.serve(connection, "round " + round);
                }
            }
            Wire.say("CLOSED " + round);
        }
        Wire.say("DONE");
    }
}
