package dev.jvmbind;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.net.BindException;
import java.net.Inet4Address;
import java.net.Inet6Address;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.net.SocketAddress;
import java.net.SocketException;
import java.nio.ByteBuffer;
import java.nio.channels.AsynchronousServerSocketChannel;
import java.nio.channels.DatagramChannel;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledForJreRange;
import org.junit.jupiter.api.condition.JRE;
import org.junit.jupiter.api.io.TempDir;

/** The names as the property gives them; the kernel, not jvmbind, answers the binds here. */
class InheritedChannelsTest {
    @AfterEach
    void clear() {
        System.clearProperty(Listener.PROPERTY);
    }

    private static void listeners(String... lines) {
        System.setProperty(Listener.PROPERTY, String.join("\n", lines));
    }

    /** Without jvmbind there are no names, and each call answers that nothing is there. */
    @Test
    void nothingWithoutJvmbind() throws IOException {
        assertEquals(List.of(), InheritedChannels.names());
        assertEquals(Optional.empty(), InheritedChannels.address("http"));
        assertEquals(Optional.empty(), InheritedChannels.serverSocketChannel("http"));
        assertEquals(Optional.empty(), InheritedChannels.serverSocket("http"));
        assertEquals(Optional.empty(), InheritedChannels.asynchronousServerSocketChannel("http"));
        assertEquals(Optional.empty(), InheritedChannels.datagramChannel("http"));
    }

    /** A name that was not declared resolves to nothing beside those that were. */
    @Test
    void unknownName() throws IOException {
        listeners("http\ttcp\t127.0.0.1:0");

        assertEquals(Optional.empty(), InheritedChannels.serverSocketChannel("https"));
    }

    /** Names come in the order of declaration. */
    @Test
    void namesInOrder() {
        listeners("zeta\ttcp\t127.0.0.1:8080", "alpha\tudp\t[::1]:53", "sock\tunix\t/run/a b.sock");

        assertEquals(List.of("zeta", "alpha", "sock"), InheritedChannels.names());
    }

    /** IPv4 and IPv6 literals become addresses without a look-up of names. */
    @Test
    void addresses() {
        listeners("four\ttcp\t127.0.0.1:80", "six\ttcp\t[::1]:443", "all4\ttcp\t0.0.0.0:81");

        InetSocketAddress four = (InetSocketAddress) InheritedChannels.address("four").orElseThrow();
        InetSocketAddress six = (InetSocketAddress) InheritedChannels.address("six").orElseThrow();
        InetSocketAddress all4 = (InetSocketAddress) InheritedChannels.address("all4").orElseThrow();
        assertEquals(new InetSocketAddress("127.0.0.1", 80), four);
        assertTrue(four.getAddress() instanceof Inet4Address);
        assertTrue(six.getAddress() instanceof Inet6Address);
        assertEquals(443, six.getPort());
        assertTrue(all4.getAddress().isAnyLocalAddress());
    }

    /** The IPv6 wildcard is the wildcard that Java itself binds. */
    @Test
    void wildcard() {
        listeners("http\ttcp\t[::]:80");

        assertEquals(Optional.of(new InetSocketAddress(80)), InheritedChannels.address("http"));
    }

    /** A ServerSocketChannel by name accepts a client. */
    @Test
    void serverSocketChannel() throws IOException {
        listeners("http\ttcp\t127.0.0.1:0");

        try (ServerSocketChannel server = InheritedChannels.serverSocketChannel("http").orElseThrow();
                SocketChannel client = SocketChannel.open(server.getLocalAddress());
                SocketChannel accepted = server.accept()) {
            assertTrue(server.isBlocking());
            assertEquals(client.getLocalAddress(), accepted.getRemoteAddress());
        }
    }

    /** A ServerSocket by name accepts a client. */
    @Test
    void serverSocket() throws IOException {
        listeners("http\ttcp\t127.0.0.1:0");

        try (ServerSocket server = InheritedChannels.serverSocket("http").orElseThrow();
                Socket client = new Socket(server.getInetAddress(), server.getLocalPort());
                Socket accepted = server.accept()) {
            assertEquals(client.getLocalPort(), accepted.getPort());
        }
    }

    /** An AsynchronousServerSocketChannel by name accepts a client. */
    @Test
    void asynchronousServerSocketChannel() throws Exception {
        listeners("http\ttcp\t127.0.0.1:0");

        try (AsynchronousServerSocketChannel server =
                        InheritedChannels.asynchronousServerSocketChannel("http").orElseThrow();
                SocketChannel client = SocketChannel.open(server.getLocalAddress())) {
            assertEquals(client.getLocalAddress(), server.accept().get().getRemoteAddress());
        }
    }

    /** A DatagramChannel by name receives, in the family of the listener's address. */
    @Test
    void datagramChannel() throws IOException {
        listeners("dns\tudp\t127.0.0.1:0");

        try (DatagramChannel server = InheritedChannels.datagramChannel("dns").orElseThrow();
                DatagramChannel client = DatagramChannel.open()) {
            client.send(ByteBuffer.wrap("query".getBytes(StandardCharsets.US_ASCII)), server.getLocalAddress());
            ByteBuffer received = ByteBuffer.allocate(16);
            server.receive(received);
            assertEquals(5, received.position());
            assertTrue(((InetSocketAddress) server.getLocalAddress()).getAddress() instanceof Inet4Address);
        }
    }

    /** A UDP listener on the wildcard takes datagrams of both families where the machine has IPv6. */
    @Test
    void datagramChannelWildcard() throws IOException {
        listeners("dns\tudp\t[::]:0");

        try (DatagramChannel server = InheritedChannels.datagramChannel("dns").orElseThrow();
                DatagramChannel client = DatagramChannel.open()) {
            int port = ((InetSocketAddress) server.getLocalAddress()).getPort();
            client.send(ByteBuffer.wrap(new byte[3]), new InetSocketAddress(InetAddress.getByName("127.0.0.1"), port));
            ByteBuffer received = ByteBuffer.allocate(16);
            server.receive(received);
            assertEquals(3, received.position());
        }
    }

    /** A Unix listener has a path and accepts a client. */
    @Test
    @EnabledForJreRange(min = JRE.JAVA_16)
    void unixChannel(@TempDir Path dir) throws Exception {
        Path path = dir.resolve("a.sock");
        listeners("app\tunix\t" + path);

        SocketAddress address = InheritedChannels.address("app").orElseThrow();
        assertEquals(path.toString(), address.toString());
        try (ServerSocketChannel server = InheritedChannels.serverSocketChannel("app").orElseThrow()) {
            assertEquals(address, server.getLocalAddress());
        }
    }

    /** On a Java without Unix channels the refusal says which Java is needed. */
    @Test
    @EnabledForJreRange(max = JRE.JAVA_15)
    void unixChannelNeedsJava16() {
        listeners("app\tunix\t/run/a.sock");

        Exception e = assertThrows(
                UnsupportedOperationException.class, () -> InheritedChannels.serverSocketChannel("app"));
        assertTrue(e.getMessage().contains("needs Java 16"), e.getMessage());
    }

    /** A listener of another kind is an error that names both kinds, not an absent name. */
    @Test
    void otherKind() {
        listeners("dns\tudp\t127.0.0.1:0", "app\tunix\t/run/a.sock");

        Exception e = assertThrows(SocketException.class, () -> InheritedChannels.serverSocketChannel("dns"));
        assertEquals("listener dns is UDP, this call is for [TCP, UNIX]", e.getMessage());
        assertThrows(SocketException.class, () -> InheritedChannels.serverSocket("app"));
        assertThrows(SocketException.class, () -> InheritedChannels.asynchronousServerSocketChannel("app"));
        assertThrows(SocketException.class, () -> InheritedChannels.datagramChannel("app"));
    }

    /** A second open socket for one name is refused as a second bind is, and works after a close. */
    @Test
    void secondBind() throws IOException {
        int port;
        try (ServerSocket free = new ServerSocket(0, 1, InetAddress.getByName("127.0.0.1"))) {
            port = free.getLocalPort();
        }
        listeners("http\ttcp\t127.0.0.1:" + port);

        try (ServerSocket first = InheritedChannels.serverSocket("http").orElseThrow()) {
            assertFalse(first.isClosed());
            assertThrows(BindException.class, () -> InheritedChannels.serverSocketChannel("http"));
        }
        InheritedChannels.serverSocketChannel("http").orElseThrow().close();
    }

    /** A property that jvmbind did not write is an error that shows the place. */
    @Test
    void malformed() {
        for (String line : List.of("http", "http\ttcp", "http\tsctp\t127.0.0.1:80", "\ttcp\t127.0.0.1:80",
                "http\ttcp\tlocalhost:80", "http\ttcp\t127.0.0.1", "http\ttcp\t127.0.0.1:65536",
                "http\ttcp\t::1:80", "http\ttcp\t1.2.3.400:80", "app\tunix\t")) {
            listeners("good\ttcp\t127.0.0.1:80", line);
            assertThrows(IllegalStateException.class, InheritedChannels::names, line);
        }
        listeners("good\ttcp\t127.0.0.1:80", "bad");
        Exception e = assertThrows(IllegalStateException.class, InheritedChannels::names);
        assertTrue(e.getMessage().contains("line 2"), e.getMessage());
    }
}
