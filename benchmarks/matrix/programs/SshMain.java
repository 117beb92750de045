import java.nio.file.Path;
import org.apache.sshd.server.SshServer;
import org.apache.sshd.server.keyprovider.SimpleGeneratorHostKeyProvider;

/** MINA SSHD. */
public class SshMain {
    public static void main(String[] args) throws Exception {
        SshServer server = SshServer.setUpDefaultServer();
        server.setPort(Integer.parseInt(args[0]));
        server.setKeyPairProvider(new SimpleGeneratorHostKeyProvider(Path.of("host.key")));
        server.start();
        Thread.currentThread().join();
    }
}
