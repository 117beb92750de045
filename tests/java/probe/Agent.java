package probe;

import java.lang.instrument.Instrumentation;
import java.net.ServerSocket;
import java.net.Socket;

/** A -javaagent that binds and serves a port in premain, before main's class is loaded: agent argument HOST PORT. */
public final class Agent {
    private Agent() {}

    public static void premain(String argument, Instrumentation instrumentation) throws Exception {
        String[] words = argument.split(" ");
        ServerSocket server = new ServerSocket();
        server.bind(Wire.address(words[0], Integer.parseInt(words[1])));
        Wire.say("PREMAIN-BOUND " + server.getLocalSocketAddress());
        Thread thread = new Thread(() -> {
            try {
                while (true) {
                    Socket connection = server.accept();
                    Wire.serve(connection, "agent");
                }
            } catch (Exception e) {
                Wire.say("ACCEPT-FAILED " + Wire.failure(e));
            }
        }, "agent");
        thread.setDaemon(true);
        thread.start();
    }
}
