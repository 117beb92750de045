package probe;

import java.lang.instrument.Instrumentation;
import java.nio.file.Files;
import java.nio.file.Path;

/** A -javaagent that holds the JVM up before main until the file that is its argument exists. */
public final class Gate {
    private Gate() {}

    public static void premain(String argument, Instrumentation instrumentation) throws Exception {
        Wire.say("PREMAIN-WAITS");
        while (!Files.exists(Path.of(argument))) {
            Thread.sleep(20);
        }
    }
}
