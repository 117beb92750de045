package dev.jvmbind;

import java.io.Closeable;
import java.io.IOException;
import java.net.ServerSocket;
import java.net.SocketAddress;
import java.net.SocketException;
import java.net.StandardProtocolFamily;
import java.nio.channels.AsynchronousServerSocketChannel;
import java.nio.channels.DatagramChannel;
import java.nio.channels.ServerSocketChannel;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Objects;
import java.util.Optional;

/**
 * The listeners of this service by name.
 *
 * <p>Each method opens an ordinary socket and binds it to the address of the named listener; jvmbind
 * then puts the listener in its place. So a second call for the same name behaves as a second bind of
 * that address does: it fails with {@link java.net.BindException} until the first socket is closed.
 *
 * <p>Where the program runs without jvmbind there are no names and every answer is empty:
 *
 * <pre>{@code
 * ServerSocketChannel server = InheritedChannels.serverSocketChannel("http")
 *         .orElseGet(() -> bindPort8080());
 * }</pre>
 *
 * <p>All methods may be called from any thread. They throw {@link IllegalStateException} if the system
 * property {@code jvmbind.listeners} is not as jvmbind writes it.
 */
public final class InheritedChannels {
    private InheritedChannels() {}

    /**
     * The names of all listeners.
     *
     * @return the names in the order in which the listeners were declared; empty without jvmbind
     */
    public static List<String> names() {
        List<String> names = new ArrayList<>();
        for (Listener listener : Listener.all()) {
            names.add(listener.name);
        }
        return Collections.unmodifiableList(names);
    }

    /**
     * The address that the named listener has for this program.
     *
     * @param name the listener's name
     * @return an {@link java.net.InetSocketAddress} or, for a Unix socket, a {@code
     *     java.net.UnixDomainSocketAddress}; empty if there is no listener of that name
     * @throws UnsupportedOperationException if it is a Unix socket and this is Java 15 or older
     */
    public static Optional<SocketAddress> address(String name) {
        return find(name).map(Listener::address);
    }

    /**
     * A bound, listening channel in blocking mode, for a TCP or Unix listener.
     *
     * @param name the listener's name
     * @return the channel, which the caller closes; empty if there is no listener of that name
     * @throws SocketException if the listener is of another kind
     * @throws IOException if it cannot be bound, for example as it is in use by this program already
     * @throws UnsupportedOperationException if it is a Unix socket and this is Java 15 or older
     */
    public static Optional<ServerSocketChannel> serverSocketChannel(String name) throws IOException {
        Listener listener = find(name, Listener.Kind.TCP, Listener.Kind.UNIX);
        if (listener == null) {
            return Optional.empty();
        }
        SocketAddress address = listener.address();
        ServerSocketChannel channel =
                listener.kind == Listener.Kind.UNIX ? listener.openUnixChannel() : ServerSocketChannel.open();
        return bound(channel, () -> channel.bind(address));
    }

    /**
     * A bound, listening socket, for a TCP listener.
     *
     * @param name the listener's name
     * @return the socket, which the caller closes; empty if there is no listener of that name
     * @throws SocketException if the listener is of another kind
     * @throws IOException if it cannot be bound, for example as it is in use by this program already
     */
    public static Optional<ServerSocket> serverSocket(String name) throws IOException {
        Listener listener = find(name, Listener.Kind.TCP);
        if (listener == null) {
            return Optional.empty();
        }
        ServerSocket socket = new ServerSocket();
        return bound(socket, () -> socket.bind(listener.address()));
    }

    /**
     * A bound, listening channel of the default group, for a TCP listener.
     *
     * @param name the listener's name
     * @return the channel, which the caller closes; empty if there is no listener of that name
     * @throws SocketException if the listener is of another kind
     * @throws IOException if it cannot be bound, for example as it is in use by this program already
     */
    public static Optional<AsynchronousServerSocketChannel> asynchronousServerSocketChannel(String name)
            throws IOException {
        Listener listener = find(name, Listener.Kind.TCP);
        if (listener == null) {
            return Optional.empty();
        }
        AsynchronousServerSocketChannel channel = AsynchronousServerSocketChannel.open();
        return bound(channel, () -> channel.bind(listener.address()));
    }

    /**
     * A bound channel in blocking mode, for a UDP listener; IPv4 or IPv6 as the listener is.
     *
     * @param name the listener's name
     * @return the channel, which the caller closes; empty if there is no listener of that name
     * @throws SocketException if the listener is of another kind
     * @throws IOException if it cannot be bound, for example as it is in use by this program already
     */
    public static Optional<DatagramChannel> datagramChannel(String name) throws IOException {
        Listener listener = find(name, Listener.Kind.UDP);
        if (listener == null) {
            return Optional.empty();
        }
        DatagramChannel channel = openDatagramChannel(listener);
        return bound(channel, () -> channel.bind(listener.address()));
    }

    private static DatagramChannel openDatagramChannel(Listener listener) throws IOException {
        if (!listener.isIPv6()) {
            return DatagramChannel.open(StandardProtocolFamily.INET);
        }
        try {
            return DatagramChannel.open(StandardProtocolFamily.INET6);
        } catch (UnsupportedOperationException e) {
            // A JVM without IPv6 (preferIPv4Stack): only the wildcard listener can still be bound.
            return DatagramChannel.open(StandardProtocolFamily.INET);
        }
    }

    private static Optional<Listener> find(String name) {
        Objects.requireNonNull(name, "name");
        return Listener.all().stream().filter(each -> each.name.equals(name)).findFirst();
    }

    private static Listener find(String name, Listener.Kind... kinds) throws SocketException {
        Listener listener = find(name).orElse(null);
        if (listener != null && !Arrays.asList(kinds).contains(listener.kind)) {
            throw new SocketException(
                    "listener " + name + " is " + listener.kind + ", this call is for " + Arrays.toString(kinds));
        }
        return listener;
    }

    private static <T extends Closeable> Optional<T> bound(T socket, Bind bind) throws IOException {
        try {
            bind.run();
            return Optional.of(socket);
        } catch (IOException | RuntimeException e) {
            try {
                socket.close();
            } catch (IOException closing) {
                e.addSuppressed(closing);
            }
            throw e;
        }
    }

    /** The call that binds a socket that is already open. */
    @FunctionalInterface
    private interface Bind {
        void run() throws IOException;
    }
}
