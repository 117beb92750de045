package probe;

import java.net.DatagramPacket;
import java.net.DatagramSocket;
import java.net.Inet6Address;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.Socket;

/** Tells TCP and datagram clients the IP version by which they came: TCP-PORT UDP-PORT; a port that cannot be bound is left out. */
public final class TwoPorts {
    private TwoPorts() {}

    public static void main(String[] args) throws Exception {
        ServerSocket server = new ServerSocket();
        try {
            server.bind(new InetSocketAddress(Integer.parseInt(args[0])));
            new Thread(() -> accept(server)).start();
        } catch (java.io.IOException e) {
            Wire.say("TCP " + Wire.failure(e));
        }
        DatagramSocket datagrams;
        try {
            datagrams = new DatagramSocket(Integer.parseInt(args[1]));
        } catch (java.io.IOException e) {
            Wire.say("UDP " + Wire.failure(e));
            Wire.say("READY");
            return;
        }
        Wire.say("READY");
        while (true) {
            DatagramPacket packet = new DatagramPacket(new byte[100], 100);
            datagrams.receive(packet);
            datagrams.send(new DatagramPacket(version(packet.getAddress()), 1, packet.getSocketAddress()));
        }
    }

    private static void accept(ServerSocket server) {
        while (true) {
            try (Socket peer = server.accept()) {
                peer.getOutputStream().write(version(peer.getInetAddress()));
            } catch (java.io.IOException e) {
                Wire.say("FAILED " + Wire.failure(e));
            }
        }
    }

    private static byte[] version(InetAddress address) {
        return new byte[] {(byte) (address instanceof Inet6Address ? '6' : '4')};
    }
}
