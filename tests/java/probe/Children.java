package probe;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.OutputStream;
import java.util.Arrays;

/** Runs COMMAND... by ProcessBuilder, prints each line of its output and its status, then stays until stdin ends. */
public final class Children {
    private Children() {}

    public static void main(String[] args) throws Exception {
        Process child = new ProcessBuilder(Arrays.asList(args)).redirectErrorStream(true).start();
        try (OutputStream in = child.getOutputStream()) {
            in.write("from java\n".getBytes());
        } catch (IOException ended) {
            // The child may end without reading.
        }
        try (BufferedReader out = new BufferedReader(new InputStreamReader(child.getInputStream()))) {
            for (String line; (line = out.readLine()) != null; ) {
                Wire.say("CHILD " + line);
            }
        }
        Wire.say("STATUS " + child.waitFor());
        while (System.in.read() >= 0) {
            // wait for the end of stdin
        }
    }
}
