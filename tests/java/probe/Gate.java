package probe;

import java.lang.instrument.Instrumentation;
import java.nio.file.Files;
import java.nio.file.Path;
import sun.misc.Signal;

/**
 * A -javaagent that holds the JVM up before main until the file that is its argument exists.
 *
 * <p>After a comma, a signal (without SIG) for which it installs a handler.
 */
@SuppressWarnings("sunapi")
public final class Gate {
    private Gate() {}

    public static void premain(String argument, Instrumentation instrumentation) throws Exception {
        String[] words = argument.split(",");
        if (words.length > 1) {
            Signal.handle(new Signal(words[1]), signal -> Wire.say("GOT " + signal.getName()));
        }
        Wire.say("PREMAIN-WAITS");
        while (!Files.exists(Path.of(words[0]))) {
            Thread.sleep(20);
        }
    }
}
