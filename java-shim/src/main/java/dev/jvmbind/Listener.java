package dev.jvmbind;

import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ProtocolFamily;
import java.net.SocketAddress;
import java.net.StandardProtocolFamily;
import java.net.UnknownHostException;
import java.nio.channels.ServerSocketChannel;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Locale;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * One listener that jvmbind holds, as told by the system property {@value #PROPERTY}.
 *
 * <p>The property has one line per listener, {@code NAME<TAB>tcp|udp|unix<TAB>ADDRESS}; ADDRESS is
 * {@code host:port} with literal addresses only (IPv6 in brackets), or a path.
 */
final class Listener {
    /** The system property that lists the listeners of this process. */
    static final String PROPERTY = "jvmbind.listeners";

    /** What kind of socket a listener is. */
    enum Kind {
        /** A listening stream socket of IPv4 or IPv6. */
        TCP,
        /** A datagram socket of IPv4 or IPv6. */
        UDP,
        /** A listening stream socket with a path. */
        UNIX
    }

    private static final Pattern HOST_PORT =
            Pattern.compile("(?:\\[([0-9A-Fa-f:.]+(?:%[^\\]]+)?)\\]|([0-9]{1,3}(?:\\.[0-9]{1,3}){3})):([0-9]{1,5})");

    final String name;
    final Kind kind;
    private final String text;

    private Listener(String name, Kind kind, String text) {
        this.name = name;
        this.kind = kind;
        this.text = text;
    }

    /** The listeners in the order of the command line; none where the program runs without jvmbind. */
    static List<Listener> all() {
        String value = System.getProperty(PROPERTY, "");
        List<Listener> found = new ArrayList<>();
        int number = 0;
        for (String line : value.split("\n")) {
            number++;
            if (!line.isEmpty()) {
                found.add(parse(line, number));
            }
        }
        return Collections.unmodifiableList(found);
    }

    private static Listener parse(String line, int number) {
        String[] fields = line.split("\t", 3);
        if (fields.length == 3 && !fields[0].isEmpty() && !fields[2].isEmpty()) {
            for (Kind kind : Kind.values()) {
                if (kind.name().toLowerCase(Locale.ROOT).equals(fields[1])) {
                    Listener listener = new Listener(fields[0], kind, fields[2]);
                    if (kind != Kind.UNIX) {
                        listener.inetAddress();
                    }
                    return listener;
                }
            }
        }
        throw malformed(line, number);
    }

    private static IllegalStateException malformed(String line, int number) {
        return new IllegalStateException(
                "system property " + PROPERTY + ", line " + number
                        + ": expected NAME<TAB>tcp|udp|unix<TAB>ADDRESS, found \"" + line + '"');
    }

    /** True for an address in brackets. */
    boolean isIPv6() {
        return kind != Kind.UNIX && text.startsWith("[");
    }

    /**
     * The address to bind, IPv4 or IPv6.
     *
     * <p>The IPv6 wildcard is given as Java's own wildcard: a JVM with preferIPv4Stack cannot bind "::",
     * and on all others the two are the same address.
     */
    InetSocketAddress inetAddress() {
        Matcher matcher = HOST_PORT.matcher(text);
        int port = matcher.matches() ? Integer.parseInt(matcher.group(3)) : -1;
        if (port < 0 || port > 65535) {
            throw new IllegalStateException(
                    "listener " + name + ": expected an address such as 127.0.0.1:80 or [::1]:80, found \"" + text + '"');
        }
        String host = matcher.group(1) != null ? '[' + matcher.group(1) + ']' : matcher.group(2);
        try {
            // A literal: in neither form does getByName ask a name server.
            InetAddress address = InetAddress.getByName(host);
            if (isIPv6() && address.isAnyLocalAddress()) {
                return new InetSocketAddress(port);
            }
            return new InetSocketAddress(address, port);
        } catch (UnknownHostException e) {
            throw new IllegalStateException("listener " + name + ": \"" + text + "\" is not an address", e);
        }
    }

    /** The address to bind, of any kind; for a Unix socket Java 16 is needed. */
    SocketAddress address() {
        if (kind != Kind.UNIX) {
            return inetAddress();
        }
        // UnixDomainSocketAddress came with Java 16; this class is compiled for 11.
        return (SocketAddress) invoke("java.net.UnixDomainSocketAddress", "of", String.class, text);
    }

    /** A new, unbound channel for a Unix socket: {@code ServerSocketChannel.open(UNIX)} of Java 16. */
    ServerSocketChannel openUnixChannel() {
        ProtocolFamily family;
        try {
            family = StandardProtocolFamily.valueOf("UNIX");
        } catch (IllegalArgumentException e) {
            throw tooOld(e);
        }
        return (ServerSocketChannel) invoke(ServerSocketChannel.class.getName(), "open", ProtocolFamily.class, family);
    }

    private Object invoke(String className, String methodName, Class<?> parameter, Object argument) {
        try {
            Method method = Class.forName(className).getMethod(methodName, parameter);
            return method.invoke(null, argument);
        } catch (InvocationTargetException e) {
            throw new IllegalStateException("listener " + name + ": " + e.getCause(), e.getCause());
        } catch (ReflectiveOperationException e) {
            throw tooOld(e);
        }
    }

    private UnsupportedOperationException tooOld(Exception cause) {
        return new UnsupportedOperationException(
                "listener " + name + " is a Unix socket: that needs Java 16, this is Java "
                        + Runtime.version().feature(), cause);
    }
}
