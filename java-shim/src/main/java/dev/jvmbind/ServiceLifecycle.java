package dev.jvmbind;

import java.io.BufferedReader;
import java.io.FileInputStream;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;

/**
 * Messages between a program and the jvmbind supervisor that runs it.
 *
 * <p>Without jvmbind, and with {@code jvmbind run --direct}, there is no supervisor: the calls do
 * nothing then. None of them blocks for long or throws because of the supervisor's state; a message that
 * cannot be sent is reported once on {@link System#err}. All may be called from any thread.
 *
 * <table>
 * <caption>Which callbacks are run in which process, and in this order</caption>
 * <thead>
 * <tr><th scope="col">what happens</th><th scope="col">in the process that serves</th>
 * <th scope="col">in the other one</th></tr>
 * </thead>
 * <tbody>
 * <tr><th scope="row">stop</th><td>onDrain, then SIGTERM</td><td>a standby: SIGTERM alone</td></tr>
 * <tr><th scope="row">reload</th><td>onReload as it begins; onDrain when the new one serves, then SIGTERM</td>
 * <td>the new one: none</td></tr>
 * <tr><th scope="row">reload that fails</th><td>onReload; it serves on</td>
 * <td>the new one: none, also if it was ready</td></tr>
 * <tr><th scope="row">reload of a program that must be alone</th>
 * <td>onReload and onDrain, then SIGTERM; the new one is started after its end</td><td>there is none</td></tr>
 * <tr><th scope="row">restart</th><td>onDrain, then SIGTERM; the new one is started after its end</td>
 * <td>a standby: SIGTERM alone</td></tr>
 * <tr><th scope="row">its own end, a crash, SIGKILL</th><td>none</td><td>a standby begins to serve: none</td></tr>
 * </tbody>
 * </table>
 *
 * <p>SIGTERM is not sent before the callbacks have returned, unless they take longer than a drain may: {@code
 * stop_drain_timeout} at a stop, else {@code drain_timeout}. The log says then that they had not returned.
 */
public final class ServiceLifecycle {
    /** System property: number of the file descriptor, a pipe's end, that messages are written to. */
    private static final String OUT_PROPERTY = "jvmbind.lifecycle.out";

    /** System property: number of the file descriptor, a pipe's end, that requests are read from. */
    private static final String IN_PROPERTY = "jvmbind.lifecycle.in";

    /** Most bytes of a status text, in UTF-8; a line stays below PIPE_BUF (4096), so writes do not mix. */
    private static final int STATUS_LIMIT = 1024;

    private static final Object LOCK = new Object();
    private static final List<Runnable> ON_DRAIN = new ArrayList<>();
    private static final List<Runnable> ON_RELOAD = new ArrayList<>();
    private static OutputStream out;
    private static boolean reading;
    private static boolean drained;
    private static boolean reported;

    private ServiceLifecycle() {}

    /**
     * Says that clients are served from now on.
     *
     * <p>It counts where the service is run with {@code --ready notify}. Saying it again changes nothing. In the new
     * process of a reload it means that the old one may be drained; a standby that has said it is ready as soon as it
     * is to serve.
     */
    public static void ready() {
        send("READY");
    }

    /**
     * Sets the one-line status text that {@code jvmbind status} and systemd show.
     *
     * <p>{@code jvmbind status} shows that of each process, systemd that of the one that serves: what a standby, or the
     * new process of a reload, says of itself is shown there from when it serves.
     *
     * @param text the text; control characters become spaces, and what is beyond 1024 bytes of UTF-8 is cut off
     */
    public static void status(String text) {
        send("STATUS " + oneLine(Objects.requireNonNull(text, "text")));
    }

    /**
     * Adds a callback that is run, once, when this program is to finish: no new client comes, those connected
     * are still served. It is not run before it is certain that this process ends.
     *
     * <p>Callbacks run one after the other in the order in which they were added, on a daemon thread of
     * this class; an exception in one is reported on {@link System#err} and does not stop the others. One that is
     * added while they run comes last; one that is added after that is run at once, by the caller.
     *
     * @param callback what to run
     */
    public static void onDrain(Runnable callback) {
        listen(ON_DRAIN, callback);
    }

    /**
     * Adds a callback that is run in the process that serves when a reload begins, once for each reload, beside the
     * start of the new process. It is run as those of {@link #onDrain} are, and before them.
     *
     * @param callback what to run
     */
    public static void onReload(Runnable callback) {
        listen(ON_RELOAD, callback);
    }

    private static void send(String line) {
        synchronized (LOCK) {
            String path = path(OUT_PROPERTY);
            if (path == null) {
                return;
            }
            try {
                if (out == null) {
                    out = new FileOutputStream(path);
                }
                out.write((line + '\n').getBytes(StandardCharsets.UTF_8));
            } catch (IOException e) {
                report("cannot send " + line.split(" ", 2)[0] + ": " + e.getMessage());
            }
        }
    }

    private static void listen(List<Runnable> callbacks, Runnable callback) {
        Objects.requireNonNull(callback, "callback");
        synchronized (LOCK) {
            if (callbacks != ON_DRAIN || !drained) {
                callbacks.add(callback);
                start();
                return;
            }
        }
        run("onDrain", callback); // outside of the lock, as whatever is not this class's own
    }

    private static void start() {
        synchronized (LOCK) {
            String path = path(IN_PROPERTY);
            if (path == null || reading) {
                return;
            }
            reading = true;
            send("CALLBACKS");
            Thread thread = new Thread(() -> read(path), "jvmbind-lifecycle");
            thread.setDaemon(true);
            // The thread outlives a web application whose loader it would otherwise keep in memory.
            thread.setContextClassLoader(ClassLoader.getSystemClassLoader());
            thread.start();
        }
    }

    private static void read(String path) {
        try (BufferedReader lines =
                new BufferedReader(new InputStreamReader(new FileInputStream(path), StandardCharsets.UTF_8))) {
            for (String line = lines.readLine(); line != null; line = lines.readLine()) {
                if (line.equals("DRAIN")) {
                    drain();
                } else if (line.equals("RELOAD")) {
                    reload();
                }
            }
        } catch (IOException e) {
            synchronized (LOCK) {
                report("cannot read from the supervisor: " + e.getMessage());
            }
        }
    }

    /** Runs the callbacks of a drain, also those that are added by one of them, and then says so. */
    private static void drain() {
        for (int i = 0; ; i++) {
            Runnable next;
            synchronized (LOCK) {
                if (i == ON_DRAIN.size()) {
                    drained = true;
                    break;
                }
                next = ON_DRAIN.get(i);
            }
            run("onDrain", next);
        }
        send("DRAINED");
    }

    private static void reload() {
        List<Runnable> now;
        synchronized (LOCK) {
            now = new ArrayList<>(ON_RELOAD);
        }
        for (Runnable callback : now) {
            run("onReload", callback);
        }
    }

    // Throwable: an Error of one callback must not end the thread that runs the others.
    private static void run(String what, Runnable callback) {
        try {
            callback.run();
        } catch (Throwable e) {
            System.err.println("jvmbind: an " + what + " callback failed:");
            e.printStackTrace();
        }
    }

    private static String path(String property) {
        String value = System.getProperty(property, "");
        if (value.isEmpty()) {
            return null;
        }
        if (!value.matches("[0-9]{1,9}")) {
            report("system property " + property + ": expected a number, found \"" + value + '"');
            return null;
        }
        return "/proc/self/fd/" + value;
    }

    private static void report(String problem) {
        if (!reported) {
            reported = true;
            System.err.println("jvmbind: service messages are off: " + problem);
        }
    }

    private static String oneLine(String text) {
        StringBuilder line = new StringBuilder();
        int bytes = 0;
        for (int i = 0; i < text.length(); i += Character.charCount(text.codePointAt(i))) {
            int point = text.codePointAt(i);
            if (Character.isISOControl(point) || point == 0x2028 || point == 0x2029) {
                point = ' ';
            } else if (point >= Character.MIN_SURROGATE && point <= Character.MAX_SURROGATE) {
                point = '?'; // half of a pair: UTF-8 has no form for it
            }
            bytes += new String(Character.toChars(point)).getBytes(StandardCharsets.UTF_8).length;
            if (bytes > STATUS_LIMIT) {
                break;
            }
            line.appendCodePoint(point);
        }
        return line.toString();
    }
}
