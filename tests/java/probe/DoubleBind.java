package probe;

import java.net.StandardSocketOptions;
import java.nio.channels.ServerSocketChannel;
import java.util.ArrayList;
import java.util.List;

/** Binds one address COUNT times without closing: HOST PORT COUNT plain|reuseport; serves on all that were bound. */
public final class DoubleBind {
    private DoubleBind() {}

    public static void main(String[] args) throws Exception {
        List<ServerSocketChannel> bound = new ArrayList<>();
        for (int i = 1; i <= Integer.parseInt(args[2]); i++) {
            ServerSocketChannel server = ServerSocketChannel.open();
            if (args[3].equals("reuseport")) {
                server.setOption(StandardSocketOptions.SO_REUSEPORT, true);
            }
            try {
                server.bind(Wire.address(args[0], Integer.parseInt(args[1])));
                Wire.say("BIND " + i + " ok");
                bound.add(server);
            } catch (Exception e) {
                Wire.say("BIND " + i + " " + Wire.failure(e));
            }
        }
        for (ServerSocketChannel server : bound) {
            new Thread(() -> {
                try {
                    while (true) {
                        Wire.serve(server.accept(), "double");
                    }
                } catch (Exception e) {
                    Wire.say("ACCEPT-FAILED " + Wire.failure(e));
                }
            }).start();
        }
        Wire.say("READY");
    }
}
