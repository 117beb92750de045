import java.net.DatagramPacket;
import java.net.DatagramSocket;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.util.Arrays;
import org.xbill.DNS.ARecord;
import org.xbill.DNS.DClass;
import org.xbill.DNS.Flags;
import org.xbill.DNS.Message;
import org.xbill.DNS.Record;
import org.xbill.DNS.Section;

/** A name server of a few lines with dnsjava. */
public class DnsMain {
    public static void main(String[] args) throws Exception {
        DatagramSocket socket = new DatagramSocket(new InetSocketAddress(Integer.parseInt(args[0])));
        byte[] buffer = new byte[4096];
        while (true) {
            DatagramPacket packet = new DatagramPacket(buffer, buffer.length);
            socket.receive(packet);
            Message query = new Message(Arrays.copyOf(buffer, packet.getLength()));
            Record question = query.getQuestion();
            Message answer = new Message(query.getHeader().getID());
            answer.getHeader().setFlag(Flags.QR);
            answer.addRecord(question, Section.QUESTION);
            answer.addRecord(new ARecord(question.getName(), DClass.IN, 60, InetAddress.getByName("192.0.2.1")), Section.ANSWER);
            byte[] words = answer.toWire();
            socket.send(new DatagramPacket(words, words.length, packet.getSocketAddress()));
        }
    }
}
