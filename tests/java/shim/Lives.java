package shim;

import dev.jvmbind.InheritedChannels;
import dev.jvmbind.ServiceLifecycle;
import java.nio.channels.ServerSocketChannel;

/**
 * Says what is called when, a line each, with its process id first. Its -Dversion is its status; one that begins with "bad" ends
 * before it is ready, and "hang" never returns from the first callback of a drain.
 */
public final class Lives {
    private static final String VERSION = System.getProperty("version");

    private Lives() {}

    public static void main(String[] args) throws Exception {
        ServiceLifecycle.status("status of " + VERSION);
        ServiceLifecycle.onReload(() -> say("reload 1"));
        ServiceLifecycle.onReload(Lives::fail);
        ServiceLifecycle.onReload(() -> say("reload 2"));
        ServiceLifecycle.onDrain(() -> {
            say("drain 1");
            sleep(VERSION.equals("hang") ? Long.MAX_VALUE : 300);
            say("drain 1 done");
            ServiceLifecycle.onDrain(() -> say("drain of a drain"));
        });
        ServiceLifecycle.onDrain(Lives::fail);
        ServiceLifecycle.onDrain(() -> say("drain 2"));
        Runtime.getRuntime().addShutdownHook(new Thread(() -> say("hook")));
        say("main " + VERSION);
        ServerSocketChannel server = InheritedChannels.serverSocketChannel("http").orElse(null);
        if (VERSION.startsWith("bad")) {
            Runtime.getRuntime().halt(3);
        }
        ServiceLifecycle.ready();
        while (server != null) {
            server.accept().close();
        }
        sleep(Long.MAX_VALUE);
    }

    private static void fail() {
        throw new IllegalStateException("a callback that fails");
    }

    private static void sleep(long millis) {
        try {
            Thread.sleep(millis);
        } catch (InterruptedException e) {
            say("interrupted");
        }
    }

    private static void say(String text) {
        System.out.println(ProcessHandle.current().pid() + " " + text);
    }
}
