import com.hivemq.embedded.EmbeddedHiveMQ;
import java.nio.file.Files;
import java.nio.file.Path;

/** HiveMQ CE in its embedded form, with its store on disk: PORT. */
public class HiveMqMain {
    public static void main(String[] args) throws Exception {
        Path conf = Files.createDirectories(Path.of("conf"));
        Files.writeString(conf.resolve("config.xml"), "<hivemq><listeners><tcp-listener><port>" + args[0] + "</port>"
                + "<bind-address>0.0.0.0</bind-address></tcp-listener></listeners>"
                + "<anonymous-usage-statistics><enabled>false</enabled></anonymous-usage-statistics></hivemq>");
        EmbeddedHiveMQ server = EmbeddedHiveMQ.builder()
                .withConfigurationFolder(conf)
                .withDataFolder(Files.createDirectories(Path.of("data")))
                .withExtensionsFolder(Files.createDirectories(Path.of("extensions")))
                .build();
        Runtime.getRuntime().addShutdownHook(new Thread(() -> server.stop().join()));
        server.start().join();
        Thread.currentThread().join();
    }
}
