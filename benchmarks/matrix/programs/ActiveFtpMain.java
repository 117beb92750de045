import java.util.List;
import org.apache.ftpserver.DataConnectionConfigurationFactory;
import org.apache.ftpserver.ConnectionConfigFactory;
import org.apache.ftpserver.FtpServerFactory;
import org.apache.ftpserver.listener.ListenerFactory;
import org.apache.ftpserver.usermanager.impl.BaseUser;
import org.apache.ftpserver.usermanager.impl.WritePermission;

/** Apache FtpServer with one user, which makes its data connections from the port that is its second argument. */
public class ActiveFtpMain {
    public static void main(String[] args) throws Exception {
        DataConnectionConfigurationFactory data = new DataConnectionConfigurationFactory();
        data.setActiveEnabled(true);
        data.setActiveLocalPort(Integer.parseInt(args[1]));
        ListenerFactory listener = new ListenerFactory();
        listener.setPort(Integer.parseInt(args[0]));
        listener.setDataConnectionConfiguration(data.createDataConnectionConfiguration());
        ConnectionConfigFactory connections = new ConnectionConfigFactory();
        connections.setMaxLogins(100);
        FtpServerFactory server = new FtpServerFactory();
        server.setConnectionConfig(connections.createConnectionConfig());
        server.addListener("default", listener.createListener());
        BaseUser user = new BaseUser();
        user.setName("a");
        user.setPassword("a");
        user.setHomeDirectory(".");
        user.setAuthorities(List.of(new WritePermission()));
        server.getUserManager().save(user);
        server.createServer().start();
    }
}
