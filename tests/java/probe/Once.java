package probe;

import java.net.ServerSocket;

/** Serves one client on PORT and then ends: exit STATUS | halt STATUS | return | throw | crash. */
public final class Once {
    private Once() {}

    public static void main(String[] args) throws Exception {
        try (ServerSocket server = new ServerSocket(Integer.parseInt(args[0]))) {
            Wire.say("READY");
            Wire.serve(server.accept(), "once");
        }
        String[] ending = new String[args.length - 1];
        System.arraycopy(args, 1, ending, 0, ending.length);
        Ending.main(ending);
    }
}
