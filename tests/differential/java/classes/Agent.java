import java.lang.instrument.Instrumentation;

/** An agent that says when it was called. */
public class Agent {
    public static void premain(String options, Instrumentation instrumentation) {
        System.out.println("premain " + options + " on " + Thread.currentThread().getName());
        if ("fail".equals(options)) {
            throw new IllegalStateException("the agent fails");
        }
        if ("exit".equals(options)) {
            System.exit(5);
        }
    }

    public static void agentmain(String options, Instrumentation instrumentation) {
        System.out.println("agentmain " + options + " on " + Thread.currentThread().getName());
    }
}
