package dev.jvmbind.daemon;

import java.lang.reflect.InvocationHandler;
import java.lang.reflect.Proxy;
import java.util.function.IntConsumer;

/** Handlers of signals, through sun.misc.Signal of the module jdk.unsupported, which compilers warn about. */
final class Signals {
    private Signals() {}

    /**
     * Has a signal handled.
     *
     * @param name the signal's name without SIG
     * @param handler is given the signal's number, on a thread of its own
     * @return false where the JVM keeps the signal for itself, or has no sun.misc.Signal
     */
    static boolean handle(String name, IntConsumer handler) {
        try {
            Class<?> signalClass = Class.forName("sun.misc.Signal");
            Class<?> handlerClass = Class.forName("sun.misc.SignalHandler");
            Object signal = signalClass.getConstructor(String.class).newInstance(name);
            int number = (Integer) signalClass.getMethod("getNumber").invoke(signal);
            InvocationHandler calls = (proxy, method, args) -> {
                switch (method.getName()) {
                    case "handle":
                        handler.accept(number);
                        return null;
                    case "equals":
                        return proxy == args[0];
                    case "hashCode":
                        return number;
                    default:
                        return "handler of SIG" + name;
                }
            };
            Object made = Proxy.newProxyInstance(Signals.class.getClassLoader(), new Class<?>[] {handlerClass}, calls);
            signalClass.getMethod("handle", signalClass, handlerClass).invoke(null, signal, made);
            return true;
        } catch (ReflectiveOperationException e) {
            return false;
        }
    }
}
