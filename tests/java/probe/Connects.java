package probe;

import java.io.InputStream;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.channels.SocketChannel;

/** PORT ALLOWED DENIED INTERPRETER: serves PORT and says what connects to the other ports came to, its own and a child's. */
public final class Connects {
    private Connects() {}

    private static final String CHILD =
            "import socket,sys\n"
                    + "def say(what, f):\n"
                    + "    try: f(); print('TRY', what, 'ok', flush=True)\n"
                    + "    except OSError as e: print('TRY', what, 'errno', e.errno, flush=True)\n"
                    + "for name, port in (('allowed', int(sys.argv[1])), ('denied', int(sys.argv[2]))):\n"
                    + "    to = ('127.0.0.1', port)\n"
                    + "    say('child ' + name, lambda: socket.socket().connect(to))\n"
                    + "    say('fastopen ' + name, lambda: socket.socket().sendto(b'x', 0x20000000, to))\n"
                    + "    say('sendmsg ' + name, lambda: socket.socket().sendmsg([b'x'], [], 0x20000000, to))\n"
                    + "    say('mptcp ' + name, lambda: socket.socket(2, 1, 262).connect(to))\n"
                    + "    say('udp ' + name, lambda: socket.socket(2, 2).sendto(b'x', to))\n";

    public static void main(String[] args) throws Exception {
        try (ServerSocket server = new ServerSocket(Integer.parseInt(args[0]))) {
            for (int i = 1; i < 3; i++) {
                String name = i == 1 ? "allowed" : "denied";
                InetSocketAddress to = new InetSocketAddress("127.0.0.1", Integer.parseInt(args[i]));
                try (Socket socket = new Socket()) {
                    socket.connect(to);
                    Wire.say("TRY socket " + name + " ok");
                } catch (Exception e) {
                    Wire.say("TRY socket " + name + " " + Wire.failure(e));
                }
                try (SocketChannel channel = SocketChannel.open(to)) {
                    Wire.say("TRY channel " + name + " ok");
                } catch (Exception e) {
                    Wire.say("TRY channel " + name + " " + Wire.failure(e));
                }
            }
            Process child = new ProcessBuilder(args[3], "-I", "-c", CHILD, args[1], args[2]).redirectErrorStream(true).start();
            try (InputStream said = child.getInputStream()) {
                Wire.say(new String(said.readAllBytes(), "UTF-8"));
            }
            Wire.say("TRIED");
            while (true) {
                try (Socket client = server.accept()) {
                    client.getInputStream().read();
                    client.getOutputStream().write("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi".getBytes("US-ASCII"));
                }
            }
        }
    }
}
