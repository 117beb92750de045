package probe;

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.net.SocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.Channel;
import java.nio.channels.DatagramChannel;
import java.nio.channels.ServerSocketChannel;

/**
 * Takes System.inheritedChannel(), serves CLIENTS clients from it, closes it, and shows that stdin, stdout and
 * stderr are what they were: CLIENTS. Prints CHANNEL, then STDIN (one line read from stdin), then AFTER-CLOSE.
 */
public final class Inherited {
    private Inherited() {}

    public static void main(String[] args) throws Exception {
        Channel channel = System.inheritedChannel();
        if (channel == null) {
            Wire.say("CHANNEL null");
            return;
        }
        Wire.say("SAME " + (channel == System.inheritedChannel()));
        int clients = Integer.parseInt(args[0]);
        if (channel instanceof ServerSocketChannel) {
            ServerSocketChannel server = (ServerSocketChannel) channel;
            Wire.say("CHANNEL server " + server.getLocalAddress());
            for (int i = 0; i < clients; i++) {
                Wire.serve(server.accept(), "inherited");
            }
        } else if (channel instanceof DatagramChannel) {
            DatagramChannel datagrams = (DatagramChannel) channel;
            Wire.say("CHANNEL datagram " + datagrams.getLocalAddress());
            ByteBuffer packet = ByteBuffer.allocate(2048);
            for (int i = 0; i < clients; i++) {
                packet.clear();
                SocketAddress from = datagrams.receive(packet);
                packet.flip();
                datagrams.send(packet, from);
            }
        } else {
            Wire.say("CHANNEL other " + channel);
        }
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in));
        Wire.say("STDIN " + in.readLine());
        channel.close();
        Wire.say("AFTER-CLOSE stdout");
        System.err.println("AFTER-CLOSE stderr");
        System.err.flush();
        Wire.say("STDIN " + in.readLine());
    }
}
