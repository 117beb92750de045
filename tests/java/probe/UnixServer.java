package probe;

import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.channels.ServerSocketChannel;

/** Serves HTTP on a Unix-domain ServerSocketChannel: PATH. */
public final class UnixServer {
    private UnixServer() {}

    public static void main(String[] args) throws Exception {
        try (ServerSocketChannel server = ServerSocketChannel.open(StandardProtocolFamily.UNIX)) {
            server.bind(UnixDomainSocketAddress.of(args[0]));
            Wire.say("BOUND " + server.getLocalAddress());
            Wire.say("READY");
            while (true) {
                Wire.serve(server.accept(), "unix");
            }
        }
    }
}
