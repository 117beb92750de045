package servers;

import com.sun.net.httpserver.HttpServer;
import java.io.FileOutputStream;
import java.io.RandomAccessFile;
import java.net.InetSocketAddress;
import java.nio.MappedByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.Statement;
import java.util.List;
import java.util.concurrent.Executors;

/**
 * A store of numbers behind HTTP: PORT KIND WHERE. GET / gives the next number, once it is written; GET /all gives how many
 * there are and the largest. It binds first and opens its data then, as servers do.
 */
public final class DataServer {
    private DataServer() {}

    /** Keeps numbers: what was kept before is read when it is opened. */
    public interface Store extends AutoCloseable {
        /** Keeps the number after the last one and returns it. */
        long next() throws Exception;

        /** Returns how many numbers there are. */
        long count() throws Exception;
    }

    public static void main(String[] args) throws Exception {
        serve(Integer.parseInt(args[0]), () -> open(args[1], args[2]));
    }

    /** Opens a store. */
    public interface Opener {
        Store open() throws Exception;
    }

    static void serve(int port, Opener opener) throws Exception {
        HttpServer server = HttpServer.create(new InetSocketAddress(port), 0);
        Store store = opener.open();
        server.setExecutor(Executors.newFixedThreadPool(4));
        server.createContext("/", exchange -> {
            String answer;
            int status = 200;
            try {
                synchronized (store) {
                    answer = exchange.getRequestURI().getPath().equals("/all") ? "all " + store.count() : "next " + store.next();
                }
            } catch (Exception e) {
                status = 500;
                answer = e.toString();
            }
            byte[] body = answer.getBytes(StandardCharsets.UTF_8);
            exchange.sendResponseHeaders(status, body.length);
            exchange.getResponseBody().write(body);
            exchange.close();
        });
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            try {
                synchronized (store) {
                    store.close();
                }
            } catch (Exception e) {
                System.out.println("close: " + e);
            }
        }));
        server.start();
    }

    private static Store open(String kind, String where) throws Exception {
        return switch (kind) {
            case "random-access" -> journal(where, new RandomAccessFile(where, "rw"));
            case "append" -> appended(Path.of(where));
            case "lazy-append" -> lazy(Path.of(where));
            case "mapped" -> mapped(Path.of(where));
            default -> database(where);
        };
    }

    private static long last(Path path) throws Exception {
        List<String> lines = Files.exists(path) ? Files.readAllLines(path) : List.of();
        return lines.isEmpty() ? 0 : Long.parseLong(lines.get(lines.size() - 1));
    }

    /** A journal that is continued at its end. */
    private static Store journal(String where, RandomAccessFile file) throws Exception {
        return new Store() {
            private long last = last(Path.of(where));

            @Override
            public long next() throws Exception {
                file.seek(file.length());
                file.writeBytes(++last + "\n");
                return last;
            }

            @Override
            public long count() throws Exception {
                return distinct(Path.of(where));
            }

            @Override
            public void close() throws Exception {
                file.close();
            }
        };
    }

    private static long distinct(Path path) throws Exception {
        List<String> lines = Files.readAllLines(path);
        long distinct = lines.stream().distinct().count();
        if (distinct != lines.size()) {
            throw new IllegalStateException("a number was given twice");
        }
        return distinct;
    }

    /** The same, by a stream that only appends. */
    private static Store appended(Path path) throws Exception {
        FileOutputStream file = new FileOutputStream(path.toFile(), true);
        return stream(path, file, last(path));
    }

    private static Store stream(Path path, FileOutputStream file, long before) {
        return new Store() {
            private long last = before;

            @Override
            public long next() throws Exception {
                file.write((++last + "\n").getBytes(StandardCharsets.US_ASCII));
                return last;
            }

            @Override
            public long count() throws Exception {
                return distinct(path);
            }

            @Override
            public void close() throws Exception {
                file.close();
            }
        };
    }

    /** The same, opened by the first client. */
    private static Store lazy(Path path) {
        return new Store() {
            private Store store;

            private Store store() throws Exception {
                store = store == null ? appended(path) : store;
                return store;
            }

            @Override
            public long next() throws Exception {
                return store().next();
            }

            @Override
            public long count() throws Exception {
                return store().count();
            }

            @Override
            public void close() throws Exception {
                store().close();
            }
        };
    }

    /** A counter in shared memory; the file is closed once it is mapped. */
    private static Store mapped(Path path) throws Exception {
        MappedByteBuffer memory;
        try (RandomAccessFile file = new RandomAccessFile(path.toFile(), "rw")) {
            memory = file.getChannel().map(FileChannel.MapMode.READ_WRITE, 0, 4096);
        }
        long before = memory.getLong(0);
        return new Store() {
            private long last = before;

            @Override
            public long next() {
                memory.putLong(0, ++last);
                return last;
            }

            @Override
            public long count() {
                return memory.getLong(0);
            }

            @Override
            public void close() {
                memory.force();
            }
        };
    }

    private static Store database(String url) throws Exception {
        Connection connection = DriverManager.getConnection(url);
        try (Statement statement = connection.createStatement()) {
            statement.execute("CREATE TABLE numbers (n BIGINT NOT NULL PRIMARY KEY)");
        } catch (java.sql.SQLException exists) {
            // From before.
        }
        long before = number(connection, "SELECT MAX(n) FROM numbers");
        PreparedStatement insert = connection.prepareStatement("INSERT INTO numbers VALUES (?)");
        return new Store() {
            private long last = before;

            @Override
            public long next() throws Exception {
                insert.setLong(1, ++last);
                insert.executeUpdate();
                return last;
            }

            @Override
            public long count() throws Exception {
                return number(connection, "SELECT COUNT(*) FROM numbers");
            }

            @Override
            public void close() throws Exception {
                connection.close();
                if (url.startsWith("jdbc:derby:")) {
                    DriverManager.getConnection("jdbc:derby:;shutdown=true"); // says by an exception that it has been done
                }
            }
        };
    }

    private static long number(Connection connection, String query) throws Exception {
        try (Statement statement = connection.createStatement(); ResultSet result = statement.executeQuery(query)) {
            result.next();
            return result.getLong(1);
        }
    }
}
