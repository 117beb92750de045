package dev.jvmbind;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.io.RandomAccessFile;
import java.nio.charset.StandardCharsets;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The messages over two named pipes, whose ends this test holds as the supervisor does. */
class ServiceLifecycleTest {
    @TempDir
    static Path dir;

    private static RandomAccessFile out;
    private static RandomAccessFile in;

    @BeforeAll
    static void pipes() throws Exception {
        out = pipe("out", "jvmbind.lifecycle.out");
        in = pipe("in", "jvmbind.lifecycle.in");
    }

    @AfterAll
    static void close() throws IOException {
        out.close();
        in.close();
    }

    private static RandomAccessFile pipe(String name, String property) throws Exception {
        Path path = dir.resolve(name);
        assertEquals(0, new ProcessBuilder("mkfifo", path.toString()).start().waitFor());
        RandomAccessFile file = new RandomAccessFile(path.toFile(), "rw");
        System.setProperty(property, descriptor(path));
        return file;
    }

    /** The number of the file descriptor with which this process has a path open. */
    private static String descriptor(Path path) throws IOException {
        try (DirectoryStream<Path> all = Files.newDirectoryStream(Path.of("/proc/self/fd"))) {
            for (Path each : all) {
                if (Files.exists(each) && Files.isSameFile(each, path)) {
                    return each.getFileName().toString();
                }
            }
        }
        throw new AssertionError("not open: " + path);
    }

    private static String read() throws IOException {
        return out.readLine();
    }

    /** Each message is one line; a text cannot contain a second one. */
    @Test
    void messages() throws IOException {
        ServiceLifecycle.ready();
        ServiceLifecycle.status("warm\nREADY\u0000\u001b[2Jend");

        assertEquals("READY", read());
        assertEquals("STATUS warm READY  [2Jend", read());
    }

    /** A text is cut at 1024 bytes, never within a character. */
    @Test
    void longText() throws IOException {
        ServiceLifecycle.status("x" + "\u20ac".repeat(1000));

        byte[] line = read().getBytes(StandardCharsets.ISO_8859_1);
        String text = new String(line, StandardCharsets.UTF_8);
        assertEquals("STATUS ".length() + 1 + 341 * 3, line.length);
        assertEquals("STATUS x" + "\u20ac".repeat(341), text);
    }

    /**
     * Callbacks run in order for their own request only; one that fails is reported and stops no other. The supervisor
     * hears once that there are some, and when those of a drain have returned; one that comes after that runs at once.
     */
    @Test
    void callbacks() throws Exception {
        BlockingQueue<String> ran = new LinkedBlockingQueue<>();
        PrintStream stderr = System.err;
        ByteArrayOutputStream reported = new ByteArrayOutputStream();
        System.setErr(new PrintStream(reported, true, StandardCharsets.UTF_8));
        try {
            ServiceLifecycle.onReload(() -> ran.add("reload"));
            ServiceLifecycle.onDrain(() -> ran.add("first"));
            ServiceLifecycle.onDrain(() -> {
                throw new AssertionError("broken callback");
            });
            ServiceLifecycle.onDrain(() -> ran.add("last"));

            in.writeBytes("UNKNOWN\nDRAIN\nRELOAD\n");

            assertEquals("first", ran.poll(20, TimeUnit.SECONDS));
            assertEquals("last", ran.poll(20, TimeUnit.SECONDS));
            assertEquals("reload", ran.poll(20, TimeUnit.SECONDS));
            ServiceLifecycle.onDrain(() -> ran.add("late"));
            assertEquals("late", ran.poll());
            assertEquals("CALLBACKS", read());
            assertEquals("DRAINED", read());
        } finally {
            System.setErr(stderr);
        }
        String report = reported.toString(StandardCharsets.UTF_8);
        assertTrue(report.startsWith("jvmbind: an onDrain callback failed:"), report);
        assertTrue(report.contains("broken callback"), report);
        assertTrue(Thread.getAllStackTraces().keySet().stream()
                .anyMatch(thread -> thread.getName().equals("jvmbind-lifecycle") && thread.isDaemon()));
    }
}
