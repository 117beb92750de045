import org.apache.activemq.artemis.core.config.impl.ConfigurationImpl;
import org.apache.activemq.artemis.core.server.embedded.EmbeddedActiveMQ;

/** Artemis with its journal and a STOMP acceptor. */
public class ArtemisMain {
    public static void main(String[] args) throws Exception {
        ConfigurationImpl configuration = new ConfigurationImpl();
        configuration.setSecurityEnabled(false);
        configuration.setPersistenceEnabled(true);
        configuration.setJournalDirectory("data/journal");
        configuration.setBindingsDirectory("data/bindings");
        configuration.setLargeMessagesDirectory("data/large");
        configuration.setPagingDirectory("data/paging");
        configuration.addAcceptorConfiguration("stomp", "tcp://0.0.0.0:" + args[0] + "?protocols=STOMP");
        EmbeddedActiveMQ server = new EmbeddedActiveMQ();
        server.setConfiguration(configuration);
        server.start();
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            try {
                server.stop();
            } catch (Exception failure) {
                failure.printStackTrace();
            }
        }));
        Thread.currentThread().join();
    }
}
