package dev.jvmbind.daemon;

import java.lang.reflect.InvocationHandler;
import java.lang.reflect.Method;
import java.lang.reflect.Proxy;
import java.util.concurrent.BlockingQueue;

/**
 * One instance of a daemon class, called by reflection: commons-daemon need not be there.
 *
 * <p>A class that implements {@code org.apache.commons.daemon.Daemon} is given a DaemonContext; any
 * other one needs {@code init(String[])}, {@code start()}, {@code stop()} and {@code destroy()}, which is
 * what jsvc accepts too.
 */
final class Daemon {
    private static final String PACKAGE = "org.apache.commons.daemon.";

    private final Object instance;
    private final Class<?> type;
    private final String[] arguments;
    private final BlockingQueue<DaemonMain.Request> requests;
    private Class<?> daemonInterface;
    private volatile boolean available;

    Daemon(String className, String[] arguments, BlockingQueue<DaemonMain.Request> requests)
            throws ReflectiveOperationException {
        this.arguments = arguments;
        this.requests = requests;
        type = Class.forName(className, true, ClassLoader.getSystemClassLoader());
        daemonInterface = interfaceOf(type, "Daemon");
        instance = type.getDeclaredConstructor().newInstance();
    }

    private static Class<?> interfaceOf(Class<?> type, String name) {
        try {
            Class<?> found = Class.forName(PACKAGE + name, false, type.getClassLoader());
            return found.isAssignableFrom(type) ? found : null;
        } catch (ClassNotFoundException e) {
            return null;
        }
    }

    void init() throws ReflectiveOperationException {
        available = true;
        if (daemonInterface != null) {
            Class<?> contextType = load("DaemonContext");
            daemonInterface.getMethod("init", contextType).invoke(instance, context(contextType));
            return;
        }
        Method method;
        try {
            method = type.getMethod("init", String[].class);
        } catch (NoSuchMethodException e) {
            throw new NoSuchMethodException(type.getName() + " has no init(String[]) and does not implement " + PACKAGE + "Daemon");
        }
        method.invoke(instance, (Object) arguments);
    }

    void start() throws ReflectiveOperationException {
        call("start");
    }

    void stop() throws ReflectiveOperationException {
        available = false;
        call("stop");
    }

    void destroy() throws ReflectiveOperationException {
        call("destroy");
    }

    /** Passes on SIGUSR2, to a daemon that asks for it. */
    void signal() throws ReflectiveOperationException {
        Class<?> wanted = interfaceOf(type, "DaemonUserSignal");
        if (wanted != null) {
            wanted.getMethod("signal").invoke(instance);
        }
    }

    private void call(String name) throws ReflectiveOperationException {
        (daemonInterface != null ? daemonInterface : type).getMethod(name).invoke(instance);
    }

    private Class<?> load(String name) throws ClassNotFoundException {
        return Class.forName(PACKAGE + name, true, type.getClassLoader());
    }

    private Object context(Class<?> contextType) throws ClassNotFoundException {
        Object controller = controller(load("DaemonController"));
        return proxy(contextType, (name, args) -> name.equals("getArguments") ? arguments.clone() : controller);
    }

    private Object controller(Class<?> controllerType) {
        return proxy(controllerType, (name, args) -> {
            if (!available) {
                throw new IllegalStateException("the daemon is being stopped");
            }
            available = false;
            if (name.equals("fail")) {
                report(args);
                requests.add(DaemonMain.Request.FAIL);
            } else {
                requests.add(name.equals("reload") ? DaemonMain.Request.RELOAD : DaemonMain.Request.STOP);
            }
            return null;
        });
    }

    private void report(Object[] details) {
        StringBuilder text = new StringBuilder("daemon " + type.getName() + " failed");
        Throwable cause = null;
        for (Object detail : details == null ? new Object[0] : details) {
            if (detail instanceof Throwable) {
                cause = (Throwable) detail;
            } else if (detail != null) {
                text.append(": ").append(detail);
            }
        }
        System.err.println(text);
        if (cause != null) {
            cause.printStackTrace();
        }
    }

    private static Object proxy(Class<?> type, Call call) {
        InvocationHandler handler = (self, method, args) -> {
            if (method.getDeclaringClass() != Object.class) {
                return call.answer(method.getName(), args);
            }
            switch (method.getName()) {
                case "equals":
                    return self == args[0];
                case "hashCode":
                    return System.identityHashCode(self);
                default:
                    return type.getSimpleName() + " of jvmbind";
            }
        };
        return Proxy.newProxyInstance(type.getClassLoader(), new Class<?>[] {type}, handler);
    }

    /** The answer to one method of an interface. */
    @FunctionalInterface
    private interface Call {
        Object answer(String method, Object[] args);
    }
}
