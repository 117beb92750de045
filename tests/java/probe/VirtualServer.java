package probe;

import java.net.ServerSocket;
import java.net.Socket;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Executor;
import java.util.concurrent.Executors;

/** Serves HTTP with everything, bind and accept included, on virtual threads (JDK 21+): HOST PORT. */
public final class VirtualServer {
    private VirtualServer() {}

    public static void main(String[] args) throws Exception {
        // By reflection, so that one compilation for 17 serves every JDK.
        Executor executor =
                (Executor) Executors.class.getMethod("newVirtualThreadPerTaskExecutor").invoke(null);
        CountDownLatch forever = new CountDownLatch(1);
        executor.execute(() -> {
            try (ServerSocket server = new ServerSocket()) {
                server.bind(Wire.address(args[0], Integer.parseInt(args[1])));
                Wire.say("BOUND " + server.getLocalSocketAddress());
                Wire.say("READY");
                while (true) {
                    Socket connection = server.accept();
                    executor.execute(() -> Wire.serve(connection, "virtual " + Thread.currentThread()));
                }
            } catch (Exception e) {
                Wire.say("ACCEPT-FAILED " + Wire.failure(e));
                forever.countDown();
            }
        });
        forever.await();
    }
}
