package probe;

import java.net.ServerSocket;

/** Binds PORT, accepts nobody until a line comes on stdin, then serves one client after the other on one thread. */
public final class LateAccept {
    private LateAccept() {}

    public static void main(String[] args) throws Exception {
        try (ServerSocket server = new ServerSocket(Integer.parseInt(args[0]))) {
            Wire.say("BOUND");
            while (System.in.read() != '\n') {
                // wait for the line
            }
            while (true) {
                Wire.serve(server.accept(), "late");
            }
        }
    }
}
