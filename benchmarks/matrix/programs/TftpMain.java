import java.io.File;
import org.apache.commons.net.tftp.TFTPServer;

/** Commons Net's TFTP server. */
public class TftpMain {
    public static void main(String[] args) throws Exception {
        File folder = new File("files");
        folder.mkdirs();
        java.nio.file.Files.writeString(folder.toPath().resolve("a"), "tftp");
        TFTPServer server = new TFTPServer(folder, folder, Integer.parseInt(args[0]), TFTPServer.ServerMode.GET_AND_PUT, System.out, System.err);
        Thread.currentThread().join();
        server.close();
    }
}
