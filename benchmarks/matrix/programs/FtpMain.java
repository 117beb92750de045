import java.util.List;
import org.apache.ftpserver.FtpServerFactory;
import org.apache.ftpserver.listener.ListenerFactory;
import org.apache.ftpserver.usermanager.impl.BaseUser;
import org.apache.ftpserver.usermanager.impl.WritePermission;

/** Apache FtpServer with one user. */
public class FtpMain {
    public static void main(String[] args) throws Exception {
        ListenerFactory listener = new ListenerFactory();
        listener.setPort(Integer.parseInt(args[0]));
        FtpServerFactory server = new FtpServerFactory();
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
