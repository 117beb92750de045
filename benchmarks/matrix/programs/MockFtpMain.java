import org.mockftpserver.fake.FakeFtpServer;
import org.mockftpserver.fake.UserAccount;
import org.mockftpserver.fake.filesystem.DirectoryEntry;
import org.mockftpserver.fake.filesystem.UnixFakeFileSystem;

/** MockFtpServer with one user. */
public class MockFtpMain {
    public static void main(String[] args) throws Exception {
        FakeFtpServer server = new FakeFtpServer();
        server.setServerControlPort(Integer.parseInt(args[0]));
        server.addUserAccount(new UserAccount("a", "a", "/"));
        UnixFakeFileSystem files = new UnixFakeFileSystem();
        files.add(new DirectoryEntry("/"));
        server.setFileSystem(files);
        server.start();
        Thread.currentThread().join();
    }
}
