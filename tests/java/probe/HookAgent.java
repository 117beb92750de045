package probe;

import java.lang.instrument.Instrumentation;

/** A -javaagent that registers a shutdown hook in premain, as coverage, tracing and profiling agents do. */
public final class HookAgent {
    private HookAgent() {}

    public static void premain(String argument, Instrumentation instrumentation) {
        Runtime.getRuntime().addShutdownHook(new Thread(() -> Wire.say("AGENT-HOOK")));
    }
}
