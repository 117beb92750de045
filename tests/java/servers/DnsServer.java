package servers;

import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import java.net.DatagramPacket;
import java.net.DatagramSocket;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.util.Arrays;

/** A name server in the smallest form: every A query is answered 192.0.2.53, over UDP and TCP on one port: HOST PORT. */
public final class DnsServer {
    private DnsServer() {}

    public static void main(String[] args) throws Exception {
        int port = Integer.parseInt(args[1]);
        InetSocketAddress address = args[0].equals("*") ? new InetSocketAddress(port) : new InetSocketAddress(args[0], port);
        DatagramSocket udp = new DatagramSocket(address);
        ServerSocket tcp = new ServerSocket();
        tcp.bind(address);
        new Thread(() -> serveUdp(udp), "dns-udp").start();
        new Thread(() -> serveTcp(tcp), "dns-tcp").start();
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            udp.close();
            System.out.println("dns stopped");
        }));
        System.out.println("dns on " + udp.getLocalSocketAddress() + " and " + tcp.getLocalSocketAddress());
    }

    private static void serveUdp(DatagramSocket socket) {
        byte[] buffer = new byte[512];
        try {
            while (true) {
                DatagramPacket packet = new DatagramPacket(buffer, buffer.length);
                socket.receive(packet);
                byte[] reply = answer(Arrays.copyOf(buffer, packet.getLength()));
                socket.send(new DatagramPacket(reply, reply.length, packet.getSocketAddress()));
            }
        } catch (IOException closed) {
            // the shutdown hook closes the socket
        }
    }

    private static void serveTcp(ServerSocket server) {
        while (true) {
            try (Socket connection = server.accept()) {
                DataInputStream in = new DataInputStream(connection.getInputStream());
                byte[] reply = answer(in.readNBytes(in.readUnsignedShort()));
                DataOutputStream out = new DataOutputStream(connection.getOutputStream());
                out.writeShort(reply.length);
                out.write(reply);
                out.flush();
            } catch (IOException gone) {
                // a client that leaves early is not a concern of the others
            }
        }
    }

    /** RFC 1035: the query's header and question, one answer record pointing at the name (offset 12). */
    private static byte[] answer(byte[] query) {
        byte[] record = {(byte) 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, (byte) 192, 0, 2, 53};
        byte[] reply = Arrays.copyOf(query, query.length + record.length);
        System.arraycopy(record, 0, reply, query.length, record.length);
        reply[2] |= (byte) 0x84;
        reply[7] = 1;
        return reply;
    }
}
