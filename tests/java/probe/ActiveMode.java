package probe;

import java.net.DatagramSocket;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.net.SocketException;

/** Sends as FTP's active mode does: LOCAL-PORT PEER-PORT THREADS ROUNDS BYTES; each thread connects, writes, closes, again. */
public final class ActiveMode {
    private ActiveMode() {}

    private static DatagramSocket mark;

    private static boolean isTaken() {
        try {
            mark = new DatagramSocket(9500);
            return false;
        } catch (SocketException e) {
            return true;
        }
    }

    public static void main(String[] args) throws Exception {
        int local = Integer.parseInt(args[0]), port = Integer.parseInt(args[1]);
        int rounds = Integer.parseInt(args[3]), bytes = Integer.parseInt(args[4]);
        Thread[] threads = new Thread[Integer.parseInt(args[2])];
        // Two generations at once must not connect to one peer: from one port the kernel allows one connection to it.
        if (isTaken()) {
            port += threads.length;
        }
        int first = port;
        for (int i = 0; i < threads.length; i++) {
            int peer = first + i;
            threads[i] = new Thread(() -> {
                for (int round = 0; round < rounds; round++) {
                    // Another address each time: a connection to the same one is in TIME-WAIT for a second at least.
                    String host = "127.0.0." + (1 + round % 250);
                    try (Socket socket = new Socket()) {
                        socket.setReuseAddress(true);
                        socket.bind(new InetSocketAddress(local));
                        socket.connect(new InetSocketAddress(host, peer), 10_000);
                        socket.getOutputStream().write(new byte[bytes]);
                    } catch (Exception e) {
                        Wire.say("FAILED " + Wire.failure(e));
                    }
                }
            });
            threads[i].start();
        }
        Wire.say("READY");
        for (Thread thread : threads) {
            thread.join();
        }
        Wire.say("DONE");
        Thread.sleep(Long.MAX_VALUE);
    }
}
