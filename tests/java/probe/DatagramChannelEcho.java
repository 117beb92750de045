package probe;

import java.net.SocketAddress;
import java.net.StandardProtocolFamily;
import java.nio.ByteBuffer;
import java.nio.channels.DatagramChannel;
import java.nio.charset.StandardCharsets;

/** Echoes datagrams with a "channel:" prefix: HOST PORT [inet|inet6]. */
public final class DatagramChannelEcho {
    private DatagramChannelEcho() {}

    public static void main(String[] args) throws Exception {
        DatagramChannel channel = args.length > 2
                ? DatagramChannel.open(args[2].equals("inet") ? StandardProtocolFamily.INET : StandardProtocolFamily.INET6)
                : DatagramChannel.open();
        channel.bind(Wire.address(args[0], Integer.parseInt(args[1])));
        Wire.say("BOUND " + channel.getLocalAddress());
        Wire.say("READY");
        ByteBuffer packet = ByteBuffer.allocate(2048);
        while (true) {
            packet.clear();
            packet.put("channel:".getBytes(StandardCharsets.US_ASCII));
            SocketAddress from = channel.receive(packet);
            packet.flip();
            channel.send(packet, from);
        }
    }
}
