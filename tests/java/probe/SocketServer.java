package probe;

import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;

/** Serves HTTP from a ServerSocket: HOST PORT [BACKLOG]; host "*" gives the port alone. */
public final class SocketServer {
    private SocketServer() {}

    public static void main(String[] args) throws Exception {
        int port = Integer.parseInt(args[1]);
        int backlog = args.length > 2 ? Integer.parseInt(args[2]) : 50;
        InetAddress host = args[0].equals("*") ? null : InetAddress.getByName(args[0]);
        try (ServerSocket server = new ServerSocket(port, backlog, host)) {
            Wire.say("BOUND " + server.getLocalSocketAddress());
            Wire.say("READY");
            while (true) {
                Socket connection = server.accept();
                Wire.serve(connection, "socket remote=" + connection.getRemoteSocketAddress());
            }
        }
    }
}
