import java.io.InputStream;
import org.subethamail.smtp.server.SMTPServer;

/** SubEtha SMTP: takes messages and drops them. */
public class SubEthaMain {
    public static void main(String[] args) {
        SMTPServer.port(Integer.parseInt(args[0]))
                .messageHandler((context, from, to, data) -> System.out.println(from + " " + data.length))
                .build()
                .start();
    }
}
