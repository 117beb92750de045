package probe;

import java.net.DatagramPacket;
import java.net.DatagramSocket;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.net.SocketAddress;
import java.net.StandardProtocolFamily;
import java.nio.ByteBuffer;
import java.nio.channels.AsynchronousServerSocketChannel;
import java.nio.channels.AsynchronousSocketChannel;
import java.nio.channels.DatagramChannel;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;

/**
 * Binds each kind of server socket on each address: FIRST-PORT HOST..., ports counted up by host, then by kind. Prints the
 * local address of each; tells each client the addresses as Java reports them: "peer=ADDRESS local=ADDRESS".
 */
public final class Kinds {
    private static final String[] KINDS = {
        "ServerSocket", "ServerSocketChannel", "ServerSocketChannel-INET", "Asynchronous",
        "DatagramSocket", "DatagramChannel", "DatagramChannel-INET", "DatagramChannel-INET6",
    };

    private Kinds() {}

    private interface Loop {
        void run() throws Exception;
    }

    public static void main(String[] args) throws Exception {
        int port = Integer.parseInt(args[0]);
        for (String kind : KINDS) {
            for (int i = 1; i < args.length; i++, port++) {
                String line = kind + " " + args[i] + " ";
                try {
                    line += bind(kind, args[i], port);
                } catch (Exception e) {
                    line += e.getClass().getName();
                }
                Wire.say(line);
            }
        }
        Wire.say("READY");
        Thread.currentThread().join();
    }

    private static String bind(String kind, String host, int port) throws Exception {
        InetSocketAddress address = Wire.address(host, port);
        switch (kind) {
            case "ServerSocket": {
                ServerSocket server = new ServerSocket();
                server.bind(address);
                start(() -> {
                    try (Socket peer = server.accept()) {
                        peer.getOutputStream().write(text(peer.getRemoteSocketAddress(), peer.getLocalSocketAddress()));
                    }
                });
                return server.getLocalSocketAddress().toString();
            }
            case "ServerSocketChannel":
            case "ServerSocketChannel-INET": {
                ServerSocketChannel server = kind.equals("ServerSocketChannel")
                        ? ServerSocketChannel.open()
                        : open(StandardProtocolFamily.INET);
                server.bind(address);
                start(() -> {
                    try (SocketChannel peer = server.accept()) {
                        peer.write(ByteBuffer.wrap(text(peer.getRemoteAddress(), peer.getLocalAddress())));
                    }
                });
                return server.getLocalAddress().toString();
            }
            case "Asynchronous": {
                AsynchronousServerSocketChannel server = AsynchronousServerSocketChannel.open().bind(address);
                start(() -> {
                    try (AsynchronousSocketChannel peer = server.accept().get()) {
                        peer.write(ByteBuffer.wrap(text(peer.getRemoteAddress(), peer.getLocalAddress()))).get();
                    }
                });
                return server.getLocalAddress().toString();
            }
            case "DatagramSocket": {
                DatagramSocket server = new DatagramSocket(address);
                start(() -> {
                    DatagramPacket packet = new DatagramPacket(new byte[100], 100);
                    server.receive(packet);
                    byte[] answer = text(packet.getSocketAddress(), server.getLocalSocketAddress());
                    server.send(new DatagramPacket(answer, answer.length, packet.getSocketAddress()));
                });
                return server.getLocalSocketAddress().toString();
            }
            default: {
                DatagramChannel server = kind.equals("DatagramChannel")
                        ? DatagramChannel.open()
                        : DatagramChannel.open(StandardProtocolFamily.valueOf(kind.substring(kind.indexOf('-') + 1)));
                server.bind(address);
                start(() -> {
                    SocketAddress peer = server.receive(ByteBuffer.allocate(100));
                    server.send(ByteBuffer.wrap(text(peer, server.getLocalAddress())), peer);
                });
                return server.getLocalAddress().toString();
            }
        }
    }

    /** ServerSocketChannel.open(ProtocolFamily) is there from Java 15 on; the probes are compiled for 11. */
    private static ServerSocketChannel open(StandardProtocolFamily family) throws Exception {
        return (ServerSocketChannel) ServerSocketChannel.class
                .getMethod("open", java.net.ProtocolFamily.class)
                .invoke(null, family);
    }

    private static byte[] text(SocketAddress peer, SocketAddress local) {
        String host = ((InetSocketAddress) peer).getAddress().toString();
        return ("peer=" + host + " local=" + local).getBytes(StandardCharsets.UTF_8);
    }

    private static void start(Loop loop) {
        Thread thread = new Thread(() -> {
            while (true) {
                try {
                    loop.run();
                } catch (Throwable e) {
                    Wire.say("FAILED " + Wire.failure(e));
                    return;
                }
            }
        });
        thread.setDaemon(true);
        thread.start();
    }
}
