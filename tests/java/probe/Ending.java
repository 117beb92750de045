package probe;

import java.lang.reflect.Field;
import java.util.Scanner;

/** The ways in which a JVM ends: KIND [N]; see the switch. */
public final class Ending {
    private Ending() {}

    public static void main(String[] args) throws Exception {
        String kind = args[0];
        int n = args.length > 1 ? Integer.parseInt(args[1]) : 0;
        switch (kind) {
            case "exit" -> System.exit(n);
            case "halt" -> Runtime.getRuntime().halt(n);
            case "throw" -> throw new IllegalStateException("thrown in main", new RuntimeException("its cause"));
            case "return" -> Wire.say("RETURNED");
            case "exit-in-thread" -> {
                new Thread(() -> System.exit(n), "exiter").start();
                Thread.sleep(Long.MAX_VALUE);
            }
            case "throw-in-thread" -> {
                Thread other = new Thread(() -> {
                    throw new IllegalStateException("thrown elsewhere");
                }, "other");
                other.start();
                other.join();
                Wire.say("MAIN-ENDS");
            }
            case "thread-outlives-main" -> {
                new Thread(() -> {
                    Wire.say("OTHER-RUNS");
                    new Scanner(System.in).nextLine();
                    Wire.say("OTHER-ENDS");
                }, "other").start();
                Wire.say("MAIN-ENDS");
            }
            case "daemon-thread" -> {
                Thread other = new Thread(() -> {
                    while (true) {
                        Thread.onSpinWait();
                    }
                }, "daemon");
                other.setDaemon(true);
                other.start();
                Wire.say("MAIN-ENDS");
            }
            case "hook" -> hook(n);
            case "hook-exit" -> {
                hookOnly(n);
                System.exit(7);
            }
            case "crash" -> crash();
            case "out-of-memory" -> {
                byte[][] blocks = new byte[1 << 20][];
                for (int i = 0; ; i++) {
                    blocks[i] = new byte[1 << 20];
                }
            }
            case "idle" -> {
                Wire.say("READY");
                Thread.sleep(Long.MAX_VALUE);
            }
            default -> throw new IllegalArgumentException(kind);
        }
    }

    private static void hookOnly(int millis) {
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            Wire.say("HOOK-BEGINS");
            long until = System.nanoTime() + millis * 1_000_000L;
            try {
                Thread.sleep(millis);
                Wire.say("HOOK-ENDS " + (System.nanoTime() >= until));
            } catch (InterruptedException e) {
                Wire.say("HOOK-INTERRUPTED");
            }
        }, "hook"));
    }

    /** A hook of N ms; main and another non-daemon thread wait meanwhile and say so if they are interrupted. */
    private static void hook(int millis) throws Exception {
        hookOnly(millis);
        Thread other = new Thread(() -> waitForever("OTHER"), "other");
        other.start();
        Wire.say("READY");
        waitForever("MAIN");
    }

    private static void waitForever(String who) {
        try {
            Thread.sleep(Long.MAX_VALUE);
        } catch (InterruptedException e) {
            Wire.say(who + "-INTERRUPTED");
        }
    }

    private static void crash() throws Exception {
        Class<?> unsafe = Class.forName("sun.misc.Unsafe");
        Field field = unsafe.getDeclaredField("theUnsafe");
        field.setAccessible(true);
        Wire.say("CRASHING");
        unsafe.getMethod("putAddress", long.class, long.class).invoke(field.get(null), 0L, 0L);
    }
}
