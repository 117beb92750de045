package probe;

import java.net.DatagramPacket;
import java.net.DatagramSocket;
import java.nio.charset.StandardCharsets;

/** Echoes datagrams with a "socket:" prefix: HOST PORT. */
public final class DatagramSocketEcho {
    private DatagramSocketEcho() {}

    public static void main(String[] args) throws Exception {
        try (DatagramSocket socket = new DatagramSocket(Wire.address(args[0], Integer.parseInt(args[1])))) {
            Wire.say("BOUND " + socket.getLocalSocketAddress());
            Wire.say("READY");
            byte[] prefix = "socket:".getBytes(StandardCharsets.US_ASCII);
            byte[] buffer = new byte[2048];
            System.arraycopy(prefix, 0, buffer, 0, prefix.length);
            while (true) {
                DatagramPacket packet = new DatagramPacket(buffer, prefix.length, buffer.length - prefix.length);
                socket.receive(packet);
                socket.send(new DatagramPacket(buffer, 0, prefix.length + packet.getLength(), packet.getSocketAddress()));
            }
        }
    }
}
