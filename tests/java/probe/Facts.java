package probe;

import java.util.Map;
import java.util.TreeMap;

/** Prints what a program can see of how it was started: arguments, main thread, environment, properties. */
public final class Facts {
    private Facts() {}

    public static void main(String[] args) {
        for (String arg : args) {
            Wire.say("ARG " + arg);
        }
        Thread main = Thread.currentThread();
        Wire.say("THREAD " + main.getName() + " group=" + main.getThreadGroup().getName() + " id=" + main.getId()
                + " priority=" + main.getPriority() + " daemon=" + main.isDaemon()
                + " loader=" + (main.getContextClassLoader() == ClassLoader.getSystemClassLoader()));
        Wire.say("FRAMES " + main.getStackTrace().length);
        for (Thread thread : Thread.getAllStackTraces().keySet()) {
            Wire.say("LIVE " + thread.getName() + " daemon=" + thread.isDaemon());
        }
        for (Map.Entry<String, String> entry : new TreeMap<>(System.getenv()).entrySet()) {
            Wire.say("ENV " + entry.getKey() + "=" + entry.getValue());
        }
        for (String name : new TreeMap<>(System.getProperties()).keySet().toArray(new String[0])) {
            Wire.say("PROPERTY " + name + "=" + System.getProperty(name).replace("\n", "\\n"));
        }
        Wire.say("CONSOLE " + (System.console() != null));
        Wire.say("DONE");
    }
}
