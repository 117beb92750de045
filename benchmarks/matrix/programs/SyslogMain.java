import java.net.SocketAddress;
import org.graylog2.syslog4j.server.SyslogServer;
import org.graylog2.syslog4j.server.SyslogServerEventIF;
import org.graylog2.syslog4j.server.SyslogServerIF;
import org.graylog2.syslog4j.server.SyslogServerSessionlessEventHandlerIF;

/** syslog4j's UDP server; writes what it takes to the file "messages". */
public class SyslogMain implements SyslogServerSessionlessEventHandlerIF {
    @Override
    public void initialize(SyslogServerIF server) {
    }

    @Override
    public void destroy(SyslogServerIF server) {
    }

    @Override
    public void event(SyslogServerIF server, SocketAddress from, SyslogServerEventIF event) {
        try (java.io.FileWriter file = new java.io.FileWriter("messages", true)) {
            file.write(new String(event.getRaw()).trim() + "\n");
        } catch (java.io.IOException failure) {
            failure.printStackTrace();
        }
    }

    @Override
    public void exception(SyslogServerIF server, SocketAddress from, Exception failure) {
        failure.printStackTrace();
    }

    public static void main(String[] args) throws Exception {
        SyslogServerIF server = SyslogServer.getInstance("udp");
        server.getConfig().setHost("0.0.0.0");
        server.getConfig().setPort(Integer.parseInt(args[0]));
        server.getConfig().setUseDaemonThread(false);
        server.getConfig().addEventHandler(new SyslogMain());
        SyslogServer.getThreadedInstance("udp");
    }
}
