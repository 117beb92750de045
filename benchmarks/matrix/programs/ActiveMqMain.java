import java.io.File;
import org.apache.activemq.broker.BrokerService;

/** ActiveMQ Classic with its journal and a STOMP connector. */
public class ActiveMqMain {
    public static void main(String[] args) throws Exception {
        BrokerService broker = new BrokerService();
        broker.setDataDirectoryFile(new File("data"));
        broker.setUseJmx(false);
        broker.addConnector("stomp://0.0.0.0:" + args[0]);
        broker.start();
        broker.waitUntilStopped();
    }
}
