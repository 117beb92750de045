import io.moquette.broker.Server;
import io.moquette.broker.config.MemoryConfig;
import java.util.Properties;

/** Moquette with its store on disk. */
public class MoquetteMain {
    public static void main(String[] args) throws Exception {
        Properties properties = new Properties();
        properties.setProperty("host", "0.0.0.0");
        properties.setProperty("port", args[0]);
        properties.setProperty("allow_anonymous", "true");
        properties.setProperty("persistence_enabled", "true");
        properties.setProperty("data_path", "data/");
        properties.setProperty("telemetry_enabled", "false");
        new java.io.File("data").mkdirs();
        Server server = new Server();
        server.startServer(new MemoryConfig(properties));
        Runtime.getRuntime().addShutdownHook(new Thread(server::stopServer));
        Thread.currentThread().join();
    }
}
