package probe;

import java.net.ServerSocket;
import java.nio.channels.AsynchronousCloseException;
import java.nio.channels.ServerSocketChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;

/** Many binds: cycle PORT ROUNDS | parallel FIRST-PORT COUNT | accepting PORT ROUNDS. Prints what went wrong, then OK or not. */
public final class BindStress {
    private BindStress() {}

    public static void main(String[] args) throws Exception {
        int port = Integer.parseInt(args[1]);
        int count = Integer.parseInt(args[2]);
        switch (args[0]) {
            case "cycle" -> cycle(port, count);
            case "parallel" -> parallel(port, count);
            case "accepting" -> accepting(port, count);
            default -> throw new IllegalArgumentException(args[0]);
        }
    }

    private static long descriptors() throws Exception {
        try (var list = Files.list(Path.of("/proc/self/fd"))) {
            return list.count();
        }
    }

    /** Bind and close over and over: no error, no descriptor left behind. */
    private static void cycle(int port, int rounds) throws Exception {
        long before = 0;
        for (int i = 0; i < rounds; i++) {
            if (i == 10) {
                before = descriptors();
            }
            if (i % 2 == 0) {
                ServerSocketChannel.open().bind(Wire.address("*", port)).close();
            } else {
                new ServerSocket(port).close();
            }
            if (i == 10) {
                Wire.say("READY");
            }
        }
        Wire.say("OK leaked=" + (descriptors() - before));
    }

    /** Many threads bind one listener each at the same moment, and all at once compete for one more. */
    private static void parallel(int first, int count) throws Exception {
        ExecutorService threads = Executors.newFixedThreadPool(count);
        CountDownLatch start = new CountDownLatch(1);
        AtomicInteger own = new AtomicInteger();
        AtomicInteger shared = new AtomicInteger();
        for (int i = 0; i < count; i++) {
            int port = first + 1 + i;
            threads.execute(() -> {
                try {
                    start.await();
                    ServerSocketChannel.open().bind(Wire.address("*", port));
                    own.incrementAndGet();
                } catch (Exception e) {
                    Wire.say("FAILED " + port + " " + Wire.failure(e));
                }
                try {
                    ServerSocketChannel.open().bind(Wire.address("*", first));
                    shared.incrementAndGet();
                } catch (java.net.BindException taken) {
                    // all but one
                } catch (Exception e) {
                    Wire.say("FAILED " + first + " " + Wire.failure(e));
                }
            });
        }
        start.countDown();
        threads.shutdown();
        threads.awaitTermination(30, TimeUnit.SECONDS);
        Wire.say("OK own=" + own + " shared=" + shared);
        Thread.sleep(Long.MAX_VALUE);
    }

    /** Closes a listener while a thread waits in accept, and binds again, as a stopped and started connector does. */
    private static void accepting(int port, int rounds) throws Exception {
        for (int i = 0; i < rounds; i++) {
            ServerSocketChannel server = ServerSocketChannel.open().bind(Wire.address("*", port));
            String[] seen = new String[1];
            Thread acceptor = new Thread(() -> {
                try {
                    server.accept();
                    seen[0] = "accepted";
                } catch (AsynchronousCloseException e) {
                    seen[0] = "closed";
                } catch (Exception e) {
                    seen[0] = Wire.failure(e);
                }
            });
            acceptor.start();
            while (acceptor.getState() != Thread.State.RUNNABLE && acceptor.getState() != Thread.State.WAITING) {
                Thread.onSpinWait();
            }
            Thread.sleep(20);
            server.close();
            acceptor.join(5000);
            if (!"closed".equals(seen[0])) {
                Wire.say("FAILED round " + i + " " + seen[0]);
            }
        }
        Wire.say("OK");
    }
}
