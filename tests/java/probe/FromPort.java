package probe;

import java.io.InputStream;
import java.net.Socket;
import java.nio.charset.StandardCharsets;

/** A client whose source port is given: LOCAL-PORT HOST PORT; prints the local port and the first line it gets. */
public final class FromPort {
    private FromPort() {}

    public static void main(String[] args) throws Exception {
        try (Socket socket = new Socket()) {
            socket.bind(Wire.address("*", Integer.parseInt(args[0])));
            socket.connect(Wire.address(args[1], Integer.parseInt(args[2])), 10_000);
            Wire.say("LOCAL " + socket.getLocalPort());
            InputStream in = socket.getInputStream();
            Wire.say("GOT " + new String(in.readAllBytes(), StandardCharsets.UTF_8).trim());
        }
    }
}
