package probe;

import java.net.DatagramPacket;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.MulticastSocket;
import java.net.NetworkInterface;
import java.net.StandardProtocolFamily;
import java.nio.ByteBuffer;
import java.nio.channels.DatagramChannel;
import java.net.SocketAddress;

/** Joins a group before or after it binds, and answers each datagram: PORT GROUP INTERFACE channel|socket before|after. */
public final class Member {
    private Member() {}

    public static void main(String[] args) throws Exception {
        InetSocketAddress here = new InetSocketAddress(Integer.parseInt(args[0]));
        InetAddress group = InetAddress.getByName(args[1]);
        NetworkInterface network = NetworkInterface.getByName(args[2]);
        boolean before = args[4].equals("before");
        if (args[3].equals("channel")) {
            StandardProtocolFamily family =
                    args[1].contains(":") ? StandardProtocolFamily.INET6 : StandardProtocolFamily.INET;
            DatagramChannel channel = DatagramChannel.open(family);
            if (before) {
                channel.join(group, network);
            }
            channel.bind(here);
            if (!before) {
                channel.join(group, network);
            }
            Wire.say("READY");
            ByteBuffer data = ByteBuffer.allocate(100);
            while (true) {
                SocketAddress peer = channel.receive(data.clear());
                channel.send(data.flip(), peer);
            }
        }
        MulticastSocket socket = new MulticastSocket(null);
        if (before) {
            socket.joinGroup(new InetSocketAddress(group, 0), network);
        }
        socket.bind(here);
        if (!before) {
            socket.joinGroup(new InetSocketAddress(group, 0), network);
        }
        Wire.say("READY");
        while (true) {
            DatagramPacket packet = new DatagramPacket(new byte[100], 100);
            socket.receive(packet);
            socket.send(packet);
        }
    }
}
