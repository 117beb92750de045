import java.net.InetSocketAddress;
import org.tinyradius.util.RadiusServer;

/** TinyRadius with one user. */
public class RadiusMain extends RadiusServer {
    @Override
    public String getSharedSecret(InetSocketAddress client) {
        return "secret";
    }

    @Override
    public String getUserPassword(String user) {
        return "a";
    }

    public static void main(String[] args) {
        RadiusMain server = new RadiusMain();
        server.setAuthPort(Integer.parseInt(args[0]));
        server.start(true, false);
    }
}
