import java.net.DatagramPacket;
import java.net.DatagramSocket;
import java.nio.charset.StandardCharsets;

/** Prints every syslog message (RFC 3164, RFC 5424) that comes to UDP port 514. Knows nothing of jvmbind. */
public class Syslog {
    private static final String[] SEVERITIES = {"emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"};

    public static void main(String[] args) throws Exception {
        try (DatagramSocket socket = new DatagramSocket(514)) {
            System.out.println("listening on " + socket.getLocalSocketAddress());
            byte[] buffer = new byte[8192];
            while (true) {
                DatagramPacket packet = new DatagramPacket(buffer, buffer.length);
                socket.receive(packet);
                String text = new String(buffer, 0, packet.getLength(), StandardCharsets.UTF_8).strip();
                System.out.println(packet.getAddress().getHostAddress() + " " + severity(text) + " " + printable(text));
            }
        }
    }

    /** The severity is the priority's lowest three bits: RFC 5424, 6.2.1. */
    private static String severity(String text) {
        int end = text.indexOf('>');
        if (!text.startsWith("<") || end < 2 || end > 4 || !text.substring(1, end).chars().allMatch(c -> c >= '0' && c <= '9')) {
            return "notice";
        }
        return SEVERITIES[Integer.parseInt(text.substring(1, end)) % 8];
    }

    private static String printable(String text) {
        return text.substring(text.indexOf('>') + 1).replaceAll("\\p{Cntrl}", " ");
    }
}
