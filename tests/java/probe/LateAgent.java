package probe;

import java.lang.instrument.Instrumentation;
import java.net.ServerSocket;
import java.nio.file.Files;
import java.nio.file.Path;

/** A -javaagent that binds in premain, but not before a file exists: agent argument HOST PORT FILE. */
public final class LateAgent {
    private LateAgent() {}

    public static void premain(String argument, Instrumentation instrumentation) throws Exception {
        String[] words = argument.split(" ");
        Wire.say("PREMAIN");
        while (!Files.exists(Path.of(words[2]))) {
            Thread.sleep(10);
        }
        new ServerSocket().bind(Wire.address(words[0], Integer.parseInt(words[1])));
        Wire.say("PREMAIN-BOUND");
    }
}
