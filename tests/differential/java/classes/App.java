import java.io.File;
import java.io.InputStream;
import java.io.PrintStream;
import java.lang.management.ManagementFactory;
import java.nio.charset.Charset;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.CountDownLatch;

/** What an application can see of its launch, and the ways in which it can end; the first argument chooses. */
public class App {
    static int depth;

    public static void main(String[] args) throws Exception {
        String verb = args.length == 0 ? "args" : args[0];
        String rest = args.length > 1 ? args[1] : "";
        switch (verb) {
            case "args" -> print(args);
            case "props" -> properties();
            case "prop" -> print(rest, System.getProperty(rest));
            case "thread" -> thread();
            case "threads" -> threads();
            case "input" -> input();
            case "info" -> info();
            case "env" -> new TreeMap<>(System.getenv()).forEach((key, value) -> print(key, value));
            case "cwd" -> print(System.getProperty("user.dir"), new File(".").getCanonicalPath());
            case "stdin" -> System.in.transferTo(System.out);
            case "streams" -> streams();
            case "flood" -> flood(Integer.parseInt(rest));
            case "encoding" -> encoding(args);
            case "files" -> files(rest);
            case "exit" -> System.exit(Integer.parseInt(rest));
            case "halt" -> Runtime.getRuntime().halt(Integer.parseInt(rest));
            case "hooks" -> hooks(rest);
            case "throw" -> throwing(rest);
            case "handler" -> handler();
            case "daemon" -> daemon();
            case "outlive" -> outlive(rest);
            case "wait" -> waiting(rest);
            case "signal" -> handled(rest);
            case "child" -> child(Arrays.copyOfRange(args, 1, args.length));
            case "killself" -> child("sh", "-c", "kill -" + rest + " " + ProcessHandle.current().pid() + "; sleep 60");
            case "console" -> print(String.valueOf(System.console() == null));
            case "resource" -> resource(rest);
            case "loader" -> loader();
            case "asserts" -> asserts();
            case "depth" -> depth(Integer.parseInt(rest));
            case "native" -> nativeLibrary();
            case "modules" -> modules(rest);
            case "open" -> print(rest, String.valueOf(Object.class.getModule().isOpen(rest, App.class.getModule())));
            case "memory" -> memory();
            case "locale" -> print(Locale.getDefault().toString(), java.util.TimeZone.getDefault().getID());
            case "fork" -> fork();
            default -> print(args);
        }
    }

    static void print(String... values) {
        StringBuilder line = new StringBuilder();
        for (String value : values) {
            line.append('[');
            for (char letter : String.valueOf(value).toCharArray()) {
                line.append(letter >= ' ' && letter < 127 ? String.valueOf(letter) : String.format("\\u%04x", (int) letter));
            }
            line.append(']');
        }
        System.out.println(line);
    }

    static void properties() {
        TreeMap<String, String> sorted = new TreeMap<>();
        System.getProperties().forEach((key, value) -> sorted.put(key.toString(), value.toString()));
        sorted.forEach((key, value) -> print(key, value));
    }

    static void thread() {
        Thread thread = Thread.currentThread();
        print(thread.getName(), thread.getThreadGroup().getName(), "" + thread.getPriority(), "" + thread.isDaemon());
        print("" + thread.getId(), "" + thread.getState(), "" + thread.isInterrupted());
        print(thread.getContextClassLoader().getClass().getName());
        print("" + (thread.getContextClassLoader() == ClassLoader.getSystemClassLoader()));
        for (StackTraceElement element : thread.getStackTrace()) {
            print(element.getClassName() + "." + element.getMethodName());
        }
    }

    static void threads() {
        TreeMap<String, String> sorted = new TreeMap<>();
        Thread.getAllStackTraces().keySet().forEach(thread ->
            sorted.put(thread.getName(), thread.getThreadGroup().getName() + " " + thread.isDaemon() + " " + thread.getPriority()));
        sorted.forEach((name, text) -> print(name, text));
    }

    static void input() {
        var runtime = ManagementFactory.getRuntimeMXBean();
        print(runtime.getInputArguments().toArray(new String[0]));
        print(runtime.getClassPath(), runtime.getLibraryPath(), runtime.getVmName(), runtime.getSpecVersion());
    }

    static void info() {
        ProcessHandle.Info info = ProcessHandle.current().info();
        print(info.command().orElse("none"));
        print(info.arguments().orElse(new String[] {"none"}));
        print(info.user().orElse("none"));
    }

    static void streams() {
        System.out.print("out without end");
        System.err.print("err without end");
        System.out.flush();
        System.out.write(new byte[] {0, (byte) 0xff, 10}, 0, 3);
        System.out.flush();
    }

    static void flood(int lines) {
        PrintStream out = new PrintStream(System.out, false);
        for (int line = 0; line < lines; line++) {
            out.println("line " + line + " of a long output");
        }
        out.flush();
    }

    static void encoding(String[] args) {
        print(Charset.defaultCharset().name(), System.getProperty("sun.jnu.encoding"), System.getProperty("native.encoding"));
        print(args);
        System.out.println("\u00fc\u20ac\ud83d\ude00");
        System.err.println("\u00fc\u20ac\ud83d\ude00");
    }

    static void files(String name) throws Exception {
        print(name, "" + new File(name).exists(), "" + Files.exists(Path.of(name)));
    }

    static void hooks(String rest) throws Exception {
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            try {
                Thread.sleep(300);
            } catch (InterruptedException interrupted) {
                System.out.println("interrupted");
            }
            System.out.println("hook done");
        }));
        Thread sleeper = new Thread(() -> {
            try {
                Thread.sleep(60_000);
            } catch (InterruptedException interrupted) {
                System.out.println("a thread was interrupted");
            }
        }, "sleeper");
        sleeper.setDaemon(!rest.equals("wait"));
        sleeper.start();
        if (rest.equals("wait")) {
            System.out.println("ready");
            return;
        }
        if (rest.equals("throw")) {
            throw new IllegalStateException("with hooks");
        }
        if (!rest.isEmpty()) {
            System.exit(Integer.parseInt(rest));
        }
    }

    static void throwing(String kind) throws Exception {
        switch (kind) {
            case "checked" -> throw new Exception("checked", new java.io.IOException("cause"));
            case "error" -> throw new AssertionError("error");
            case "null" -> throw null;
            case "overflow" -> recurse();
            case "memory" -> {
                List<long[]> kept = new ArrayList<>();
                while (true) {
                    kept.add(new long[1 << 20]);
                }
            }
            case "init" -> print("" + new Failing());
            default -> throw new IllegalStateException("unchecked \u00fc");
        }
    }

    static void recurse() {
        depth++;
        recurse();
    }

    static class Failing {
        static final int VALUE = Integer.parseInt("none");
    }

    static void handler() {
        Thread.setDefaultUncaughtExceptionHandler((thread, thrown) -> print("handler", thread.getName(), thrown.getMessage()));
        throw new IllegalStateException("handled");
    }

    static void daemon() throws Exception {
        Thread thread = new Thread(() -> {
            try {
                Thread.sleep(60_000);
            } catch (InterruptedException interrupted) {
                System.out.println("interrupted");
            }
        });
        thread.setDaemon(true);
        thread.start();
        System.out.println("main ends");
    }

    static void outlive(String kind) {
        Thread main = Thread.currentThread();
        new Thread(() -> {
            try {
                main.join();
                print("main ended", "" + main.getState(), "" + main.isAlive());
                Thread.sleep(100);
                threads();
            } catch (InterruptedException interrupted) {
                System.out.println("interrupted");
            }
            if (kind.equals("exit")) {
                System.exit(7);
            }
            if (kind.equals("throw")) {
                throw new IllegalStateException("in a thread");
            }
        }, "outliver").start();
        if (kind.equals("mainthrow")) {
            throw new IllegalStateException("in main");
        }
    }

    static void waiting(String kind) throws Exception {
        if (kind.equals("hook")) {
            Runtime.getRuntime().addShutdownHook(new Thread(() -> System.out.println("hook done")));
        }
        System.out.println("ready");
        new CountDownLatch(1).await();
    }

    @SuppressWarnings("restriction")
    static void handled(String name) throws Exception {
        CountDownLatch latch = new CountDownLatch(1);
        sun.misc.Signal.handle(new sun.misc.Signal(name), signal -> {
            print("handled", signal.getName());
            latch.countDown();
        });
        System.out.println("ready");
        latch.await();
    }

    static void child(String... command) throws Exception {
        Process process = new ProcessBuilder(command).inheritIO().start();
        System.out.println("child: " + process.waitFor());
    }

    static void resource(String name) throws Exception {
        try (InputStream stream = App.class.getClassLoader().getResourceAsStream(name)) {
            print(name, stream == null ? "none" : new String(stream.readAllBytes()).trim());
        }
        print("" + ClassLoader.getSystemResource(name));
    }

    static void loader() {
        for (ClassLoader loader = App.class.getClassLoader(); loader != null; loader = loader.getParent()) {
            print(loader.getClass().getName(), "" + loader.getName());
        }
        print("" + App.class.getProtectionDomain().getCodeSource().getLocation());
        print(App.class.getModule().toString().replaceAll("@[0-9a-f]+", ""));
    }

    static void asserts() {
        print("" + App.class.desiredAssertionStatus(), "" + String.class.desiredAssertionStatus());
        print("" + Failing.class.desiredAssertionStatus(), "" + ClassLoader.getSystemClassLoader().getClass().desiredAssertionStatus());
    }

    static void depth(int wanted) {
        try {
            recurse();
        } catch (StackOverflowError error) {
            print("more than " + wanted, "" + (depth > wanted), "less than twice that", "" + (depth < 2 * wanted));
        }
    }

    static void nativeLibrary() {
        try {
            System.load("/nonexistent/libnothing.so");
        } catch (UnsatisfiedLinkError error) {
            print(error.getMessage());
        }
    }

    static void modules(String name) {
        ModuleLayer.boot().modules().stream().map(Module::getName).sorted().forEach(App::print);
        print(name, "" + ModuleLayer.boot().findModule(name).isPresent());
    }

    static void memory() {
        print("" + Runtime.getRuntime().maxMemory(), ManagementFactory.getGarbageCollectorMXBeans().get(0).getName());
    }

    static void fork() throws Exception {
        String java = Path.of(System.getProperty("java.home"), "bin", "java").toString();
        child(java, "-cp", System.getProperty("java.class.path"), "App", "args", "in the child");
    }
}
