package dev.jvmbind.daemon;

import java.lang.reflect.InvocationTargetException;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;

/**
 * Runs a commons-daemon class from init to destroy, as jsvc does.
 *
 * <p>All four methods are called on the main thread, one after the other. SIGTERM and SIGINT lead to
 * stop and destroy, then to the end of the process with status 128 plus the signal; the JVM's own
 * shutdown hooks run after that, as under jsvc.
 */
public final class DaemonMain {
    /** What the main thread does next. */
    enum Request {
        /** Stop, destroy, end. */
        STOP,
        /** Stop, destroy, begin anew with a new instance. */
        RELOAD,
        /** End with status 1, after stop and destroy. */
        FAIL
    }

    private static final int FAILED = 1;

    private final BlockingQueue<Request> requests = new LinkedBlockingQueue<>();
    private final String className;
    private final String[] arguments;
    private volatile int signal;
    private volatile Daemon daemon;

    private DaemonMain(String className, String[] arguments) {
        this.className = className;
        this.arguments = arguments;
    }

    /**
     * Runs the daemon.
     *
     * @param args the class, then the daemon's own arguments
     * @throws Throwable what init, start, stop or destroy of the daemon throws
     */
    public static void main(String[] args) throws Throwable {
        if (args.length == 0) {
            throw new IllegalArgumentException("expected the name of a daemon class");
        }
        String[] rest = new String[args.length - 1];
        System.arraycopy(args, 1, rest, 0, rest.length);
        new DaemonMain(args[0], rest).run();
    }

    private void run() throws Throwable {
        boolean handled = Signals.handle("TERM", number -> end(number));
        Signals.handle("INT", number -> end(number));
        if (!handled) {
            // -Xrs, or an image without jdk.unsupported: the JVM's hooks are all that is left.
            Runtime.getRuntime().addShutdownHook(new Thread(this::stopNow, "jvmbind-daemon-stop"));
        }
        Signals.handle("USR2", number -> userSignal());
        try {
            Request request;
            do {
                daemon = new Daemon(className, arguments, requests);
                daemon.init();
                daemon.start();
                request = requests.take();
                daemon.stop();
                daemon.destroy();
            } while (request == Request.RELOAD);
            System.exit(request == Request.FAIL ? FAILED : signal == 0 ? 0 : 128 + signal);
        } catch (InvocationTargetException e) {
            throw e.getCause();
        }
    }

    private void end(int number) {
        if (signal == 0) {
            signal = number;
        }
        requests.add(Request.STOP);
    }

    private void stopNow() {
        try {
            daemon.stop();
            daemon.destroy();
        } catch (ReflectiveOperationException e) {
            (e.getCause() == null ? e : e.getCause()).printStackTrace();
        }
    }

    private void userSignal() {
        try {
            daemon.signal();
        } catch (ReflectiveOperationException e) {
            (e.getCause() == null ? e : e.getCause()).printStackTrace();
        }
    }
}
