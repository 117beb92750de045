package probe;

import java.net.ServerSocket;
import java.net.Socket;
import java.net.SocketTimeoutException;
import java.nio.channels.ServerSocketChannel;

/** Accepts with a time-out, which lets one pass and then serves: PORT socket|adaptor; twice. */
public final class TimedAccept {
    private TimedAccept() {}

    public static void main(String[] args) throws Exception {
        int port = Integer.parseInt(args[0]);
        ServerSocket server = args[1].equals("socket")
                ? new ServerSocket(port)
                : ServerSocketChannel.open().bind(Wire.address("*", port)).socket();
        for (int round = 0; round < 2; round++) {
            server.setSoTimeout(100);
            try {
                server.accept();
                Wire.say("ACCEPTED");
            } catch (SocketTimeoutException e) {
                Wire.say("TIMEOUT");
            }
            server.setSoTimeout(0);
            Socket connection = server.accept();
            Wire.serve(connection, "timed");
        }
        Wire.say("DONE");
    }
}
