package probe;

import java.nio.channels.DatagramChannel;
import java.nio.channels.NetworkChannel;
import java.nio.channels.ServerSocketChannel;

/** Tries each of PROTO HOST PORT ... in turn, keeps what it got, prints one line each, then READY, and stays. */
public final class TryBind {
    private TryBind() {}

    public static void main(String[] args) throws Exception {
        NetworkChannel[] kept = new NetworkChannel[args.length / 3];
        for (int i = 0; i < args.length; i += 3) {
            String what = args[i] + " " + args[i + 1] + " " + args[i + 2];
            NetworkChannel channel = args[i].equals("udp") ? DatagramChannel.open() : ServerSocketChannel.open();
            try {
                channel.bind(Wire.address(args[i + 1], Integer.parseInt(args[i + 2])));
                Wire.say("BIND " + what + " ok " + channel.getLocalAddress());
                kept[i / 3] = channel;
            } catch (Exception e) {
                Wire.say("BIND " + what + " " + Wire.failure(e));
            }
        }
        Wire.say("READY");
        Thread.sleep(Long.MAX_VALUE);
    }
}
