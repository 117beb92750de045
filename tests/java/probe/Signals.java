package probe;

import java.net.ServerSocket;
import sun.misc.Signal;

/** Installs its own handlers for the signals named (without SIG) and prints each that comes; "END" on stdin's end. */
@SuppressWarnings("sunapi")
public final class Signals {
    private Signals() {}

    public static void main(String[] args) throws Exception {
        try (ServerSocket server = new ServerSocket(80)) {
            for (String name : args) {
                Signal.handle(new Signal(name), signal -> Wire.say("GOT " + signal.getName()));
            }
            Wire.say("READY");
            while (System.in.read() >= 0) {
                // wait for the end of stdin
            }
            Wire.say("END");
        }
    }
}
