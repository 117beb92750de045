package probe;

import java.net.DatagramPacket;
import java.net.DatagramSocket;
import java.net.ServerSocket;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.channels.ServerSocketChannel;

/** One server of each kind: TCP-PORT UDP-PORT UNIX-PATH [HOST]; an empty path leaves the Unix one out. */
public final class AllKinds {
    private AllKinds() {}

    private interface Loop {
        void once() throws Exception;
    }

    public static void main(String[] args) throws Exception {
        String host = args.length > 3 ? args[3] : "*";
        ServerSocket tcp = new ServerSocket();
        tcp.bind(Wire.address(host, Integer.parseInt(args[0])));
        forever("tcp", () -> Wire.serve(tcp.accept(), "tcp"));
        DatagramSocket udp = new DatagramSocket(Wire.address(host, Integer.parseInt(args[1])));
        byte[] buffer = new byte[2048];
        forever("udp", () -> {
            DatagramPacket packet = new DatagramPacket(buffer, buffer.length);
            udp.receive(packet);
            udp.send(packet);
        });
        if (!args[2].isEmpty()) {
            ServerSocketChannel unix = ServerSocketChannel.open(StandardProtocolFamily.UNIX);
            unix.bind(UnixDomainSocketAddress.of(args[2]));
            forever("unix", () -> Wire.serve(unix.accept(), "unix"));
        }
        Wire.say("READY");
    }

    private static void forever(String name, Loop loop) {
        new Thread(() -> {
            try {
                while (true) {
                    loop.once();
                }
            } catch (Exception e) {
                Wire.say("FAILED " + name + " " + Wire.failure(e));
            }
        }, name).start();
    }
}
