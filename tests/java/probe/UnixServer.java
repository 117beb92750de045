package probe;

import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.channels.ServerSocketChannel;
import java.nio.file.Files;
import java.nio.file.Path;

/** Serves HTTP on a Unix-domain ServerSocketChannel: PATH [delete]; with "delete" an old file is removed first. */
public final class UnixServer {
    private UnixServer() {}

    public static void main(String[] args) throws Exception {
        if (args.length > 1) {
            Files.deleteIfExists(Path.of(args[0]));
        }
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
