package servers;

import java.net.InetSocketAddress;
import java.net.SocketAddress;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.DatagramChannel;
import java.nio.channels.SelectionKey;
import java.nio.channels.Selector;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;

/**
 * Talks in lines: HOW WHERE. "ask" is answered, and the connection closed; "wait" the same after 300 ms; "more" is answered, and the
 * talk goes on; a "note" is not answered. HOW is "threads" (one for each connection, which reads), "greeting" (the same, but the
 * server says the first word), "pool" (as many threads as processors are usual, so that connections wait for one), "selector" or
 * "keeper" (the same, but a connection that its client has ended is kept). "unlock" serves nobody; when it ends, it wakes its
 * accepting thread by a connection to its own port, as Tomcat does, and says whether that thread has ended. With a third argument, a
 * file, it binds the port for UDP too, and reads from there once the file exists.
 */
public final class TalkServer {
    private TalkServer() {}

    public static void main(String[] args) throws Exception {
        boolean isPort = args[1].matches("\\d+");
        SocketAddress address = isPort ? new InetSocketAddress(Integer.parseInt(args[1])) : UnixDomainSocketAddress.of(args[1]);
        ServerSocketChannel server = isPort ? ServerSocketChannel.open() : ServerSocketChannel.open(StandardProtocolFamily.UNIX);
        server.bind(address, 1024);
        if (args[0].equals("selector") || args[0].equals("keeper")) {
            select(server, args[0].equals("keeper"));
            return;
        }
        if (args[0].equals("unlock")) {
            unlock(server);
            return;
        }
        if (args.length > 2) {
            new Thread(() -> receive(address, Path.of(args[2]))).start();
        }
        ExecutorService threads = args[0].equals("pool") ? Executors.newFixedThreadPool(4) : Executors.newCachedThreadPool();
        while (true) {
            SocketChannel connection = server.accept();
            System.out.println("ACCEPTED");
            threads.execute(() -> talk(connection, args[0].equals("greeting")));
        }
    }

    private static void talk(SocketChannel connection, boolean greet) {
        try (connection) {
            if (greet) {
                connection.write(bytes("hello\n"));
            }
            StringBuilder line = new StringBuilder();
            ByteBuffer buffer = ByteBuffer.allocate(4096);
            boolean goesOn = true;
            while (goesOn && connection.read(buffer.clear()) >= 0) {
                goesOn = take(connection, line, buffer.flip());
            }
        } catch (Exception ended) {
            // By the client.
        }
    }

    private static void receive(SocketAddress address, Path gate) {
        try (DatagramChannel channel = DatagramChannel.open().bind(address)) {
            while (!Files.exists(gate)) {
                Thread.sleep(20);
            }
            while (true) {
                channel.receive(ByteBuffer.allocate(4096));
                System.out.println("RECEIVED");
            }
        } catch (Exception e) {
            e.printStackTrace();
        }
    }

    private static volatile boolean ends;

    private static void unlock(ServerSocketChannel server) throws Exception {
        Thread accepting = new Thread(() -> {
            while (!ends) {
                try (SocketChannel connection = server.accept()) {
                    connection.write(bytes("answer\n"));
                } catch (Exception ended) {
                    // By the client.
                }
            }
        });
        accepting.start();
        SocketAddress address = server.getLocalAddress();
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            ends = true;
            try (SocketChannel connection = SocketChannel.open(address)) {
                accepting.join(20_000);
            } catch (Exception e) {
                System.out.println(e);
            }
            System.out.println(accepting.isAlive() ? "acceptor sleeps" : "acceptor ended");
        }));
    }

    private static void select(ServerSocketChannel server, boolean keeps) throws Exception {
        Selector selector = Selector.open();
        server.configureBlocking(false);
        server.register(selector, SelectionKey.OP_ACCEPT);
        ExecutorService threads = Executors.newCachedThreadPool();
        ByteBuffer buffer = ByteBuffer.allocate(4096);
        while (true) {
            selector.select();
            for (SelectionKey key : selector.selectedKeys()) {
                if (key.channel() == server) {
                    SocketChannel connection = server.accept();
                    if (connection != null) {
                        connection.configureBlocking(false);
                        connection.register(selector, SelectionKey.OP_READ, new StringBuilder());
                    }
                    continue;
                }
                SocketChannel connection = (SocketChannel) key.channel();
                try {
                    StringBuilder line = (StringBuilder) key.attachment();
                    if (connection.read(buffer.clear()) < 0) {
                        if (keeps) {
                            key.interestOps(0);
                        } else {
                            connection.close();
                        }
                        continue;
                    }
                    String words = StandardCharsets.US_ASCII.decode(buffer.flip()).toString();
                    key.interestOps(0); // as servers do that let another thread work on what was asked
                    threads.execute(() -> work(selector, key, line, bytes(words)));
                } catch (Exception ended) {
                    connection.close();
                }
            }
            selector.selectedKeys().clear();
        }
    }

    private static void work(Selector selector, SelectionKey key, StringBuilder line, ByteBuffer words) {
        SocketChannel connection = (SocketChannel) key.channel();
        try {
            if (take(connection, line, words)) {
                key.interestOps(SelectionKey.OP_READ);
                selector.wakeup();
            } else {
                connection.close();
            }
        } catch (Exception ended) {
            // By the client.
        }
    }

    /** Takes what was said, and returns whether the talk goes on. */
    private static boolean take(SocketChannel connection, StringBuilder line, ByteBuffer words) throws Exception {
        while (words.hasRemaining()) {
            char next = (char) words.get();
            if (next != '\n') {
                line.append(next);
                continue;
            }
            String said = line.toString();
            line.setLength(0);
            if (said.equals("ask") || said.equals("wait")) {
                Thread.sleep(said.equals("wait") ? 300 : 0);
                connection.write(bytes("answer\n"));
                return false;
            }
            if (said.equals("more")) {
                connection.write(bytes("more\n"));
            }
        }
        return true;
    }

    private static ByteBuffer bytes(String words) {
        return ByteBuffer.wrap(words.getBytes(StandardCharsets.US_ASCII));
    }
}
