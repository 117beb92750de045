package probe;

import java.io.Console;

/** Talks to whoever sits at the terminal: prints each line that is typed, "HOOK" at a shutdown; stays after the end of input. */
public final class AtTerminal {
    private AtTerminal() {}

    public static void main(String[] args) throws Exception {
        Runtime.getRuntime().addShutdownHook(new Thread(() -> Wire.say("HOOK")));
        Console console = args.length > 0 ? null : System.console();
        Wire.say("CONSOLE " + (console != null));
        Wire.say("READY");
        String line = "";
        while (console != null && line != null) {
            line = console.readLine();
            Wire.say("LINE " + line);
        }
        Thread.sleep(Long.MAX_VALUE);
    }
}
