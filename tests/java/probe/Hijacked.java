package probe;

import java.io.BufferedReader;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.net.DatagramPacket;
import java.net.DatagramSocket;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.ByteBuffer;
import java.nio.channels.DatagramChannel;
import java.nio.channels.SocketChannel;
import java.util.ArrayList;
import java.util.List;

/**
 * PORT TCP UDP COMMAND...: serves PORT until a client asks for an attack. Then it tries to reach TCP and UDP of 127.0.0.1 by
 * Java's own means, and runs COMMAND with its process as last argument, while that client's connection is open.
 */
public final class Hijacked {
    private Hijacked() {}

    private interface Attempt {
        void make() throws Exception;
    }

    public static void main(String[] args) throws Exception {
        try (ServerSocket server = new ServerSocket(Integer.parseInt(args[0]))) {
            Wire.say("SERVES");
            while (true) {
                try (Socket client = server.accept()) {
                    BufferedReader in = new BufferedReader(new InputStreamReader(client.getInputStream()));
                    String line = in.readLine();
                    if (line != null && line.startsWith("ATTACK")) {
                        attack(args);
                    } else if (line != null) {
                        client.getOutputStream().write(Wire.answer("hi"));
                    }
                }
            }
        }
    }

    private static void attack(String[] args) throws Exception {
        InetSocketAddress tcp = new InetSocketAddress("127.0.0.1", Integer.parseInt(args[1]));
        InetSocketAddress udp = new InetSocketAddress("127.0.0.1", Integer.parseInt(args[2]));
        attempt("Socket", () -> {
            try (Socket socket = new Socket()) {
                socket.connect(tcp);
            }
        });
        attempt("SocketChannel", () -> SocketChannel.open(tcp).close());
        attempt("DatagramSocket", () -> {
            try (DatagramSocket socket = new DatagramSocket()) {
                socket.send(new DatagramPacket(new byte[] {'x'}, 1, udp));
            }
        });
        attempt("DatagramChannel", () -> {
            try (DatagramChannel channel = DatagramChannel.open()) {
                channel.send(ByteBuffer.wrap(new byte[] {'x'}), udp);
            }
        });
        List<String> command = new ArrayList<>(List.of(args).subList(3, args.length));
        command.add(Long.toString(ProcessHandle.current().pid()));
        Process child = new ProcessBuilder(command).redirectErrorStream(true).start();
        try (InputStream said = child.getInputStream()) {
            Wire.say(new String(said.readAllBytes(), "UTF-8"));
        }
        Wire.say("TRIED");
    }

    private static void attempt(String name, Attempt attempt) {
        try {
            attempt.make();
            Wire.say("TRY " + name + " done");
        } catch (Exception e) {
            Wire.say("TRY " + name + " " + Wire.failure(e));
        }
    }
}
