package service;

import java.io.BufferedReader;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.OutputStream;
import java.net.DatagramPacket;
import java.net.DatagramSocket;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.List;

/**
 * A server whose life the tests decide on, by KEY=VALUE arguments in the order in which they are to happen:
 * hook=MS (a shutdown hook that takes so long), wait=MS, check=PORT (binds, listens and closes), http=PORT, deaf=PORT (listens and accepts nothing), udp=PORT,
 * at=HOST:PORT (the same as http, on one address; says why where it cannot), try=PORT (binds it twice, and says what came of it), await=FILE (waits for it),
 * files=N (keeps so many files open), lock=FILE (locks it, and fails where another process has), say=TEXT, chat=TEXT (never stops telling jvmbind its status), exit=STATUS, hang=anything.
 * It answers with its process id and its -Dversion; GET /sleep/MS, and the datagram "sleep MS", after so many milliseconds. Connections are kept
 * alive unless the client says "Connection: close".
 */
public final class App {
    private static final String NAME = "pid=" + ProcessHandle.current().pid() + " version=" + System.getProperty("version");

    private static final List<FileChannel> OPEN = new ArrayList<>();
    private static final List<FileChannel> LOCKS = new ArrayList<>();

    private App() {}

    public static void main(String[] args) throws Exception {
        for (String arg : args) {
            String value = arg.substring(arg.indexOf('=') + 1);
            switch (arg.substring(0, arg.indexOf('='))) {
                case "hook" -> Runtime.getRuntime().addShutdownHook(new Thread(() -> {
                    say("STOPPING");
                    sleep(Long.parseLong(value));
                    say("STOPPED");
                }));
                case "files" -> {
                    for (int i = Integer.parseInt(value); i > 0; i--) {
                        OPEN.add(FileChannel.open(Path.of("/dev/null"), StandardOpenOption.READ));
                    }
                }
                case "wait" -> sleep(Long.parseLong(value));
                case "http" -> {
                    ServerSocket server = new ServerSocket(Integer.parseInt(value), 100);
                    say("LISTENS " + NAME + " " + server.getLocalSocketAddress());
                    start(() -> accept(server), false);
                }
                case "at" -> {
                    int colon = value.lastIndexOf(':');
                    try {
                        ServerSocket server = new ServerSocket(Integer.parseInt(value.substring(colon + 1)), 100, InetAddress.getByName(value.substring(0, colon)));
                        start(() -> accept(server), false);
                        say("BOUND " + value);
                    } catch (IOException e) {
                        say("NOT-BOUND " + value + " " + e.getMessage());
                    }
                }
                case "try" -> {
                    for (int i = 0; i < 2; i++) {
                        try {
                            new ServerSocket(Integer.parseInt(value), 100);
                            say("BOUND " + value);
                        } catch (IOException e) {
                            say("NOT-BOUND " + value + " " + e.getMessage());
                        }
                    }
                }
                case "await" -> {
                    say("AWAITS " + value);
                    while (!Files.exists(Path.of(value))) {
                        sleep(20);
                    }
                }
                case "lock" -> {
                    FileChannel file = FileChannel.open(Path.of(value), StandardOpenOption.CREATE, StandardOpenOption.WRITE);
                    if (file.tryLock() == null) {
                        throw new IOException(value + " is locked by another process");
                    }
                    LOCKS.add(file);
                }
                case "check" -> new ServerSocket(Integer.parseInt(value), 100).close();
                case "deaf" -> new ServerSocket(Integer.parseInt(value), 100);
                case "udp" -> {
                    DatagramSocket socket = new DatagramSocket(Integer.parseInt(value));
                    start(() -> echo(socket), false);
                }
                case "say" -> say(value);
                case "chat" -> start(() -> chat(value), true);
                case "exit" -> System.exit(Integer.parseInt(value));
                case "hang" -> sleep(Long.MAX_VALUE);
                default -> throw new IllegalArgumentException(arg);
            }
        }
        say("READY " + NAME);
    }

    private static void start(Runnable life, boolean daemon) {
        Thread thread = new Thread(life);
        thread.setDaemon(daemon);
        thread.start();
    }

    private static void accept(ServerSocket server) {
        try {
            while (true) {
                Socket connection = server.accept();
                start(() -> serve(connection), true);
            }
        } catch (IOException e) {
            say("ACCEPT-FAILED " + e);
        }
    }

    private static void serve(Socket connection) {
        try (connection) {
            BufferedReader in = new BufferedReader(new InputStreamReader(connection.getInputStream(), StandardCharsets.US_ASCII));
            OutputStream out = connection.getOutputStream();
            boolean close = false;
            while (!close) {
                String request = in.readLine();
                if (request == null) {
                    return;
                }
                for (String line; (line = in.readLine()) != null && !line.isEmpty(); ) {
                    close |= line.equalsIgnoreCase("connection: close");
                }
                String path = request.split(" ")[1];
                if (path.startsWith("/sleep/")) {
                    say("SLEEPS " + path);
                    sleep(Long.parseLong(path.substring(7)));
                }
                String head = "HTTP/1.1 200 OK\r\nContent-Length: " + NAME.length() + "\r\n\r\n";
                out.write((head + NAME).getBytes(StandardCharsets.US_ASCII));
                out.flush();
            }
        } catch (IOException gone) {
            // A client, or the supervisor's probe, may leave at any time.
        }
    }

    /** Writes, as the Java API does it, a status with a number as fast as it can. */
    private static void chat(String text) {
        try (OutputStream out = new FileOutputStream("/proc/self/fd/" + System.getProperty("jvmbind.lifecycle.out"))) {
            for (long number = 0; ; number++) {
                out.write(("STATUS " + text + " " + number + "\n").getBytes(StandardCharsets.US_ASCII));
            }
        } catch (IOException e) {
            say("CHAT-FAILED " + e);
        }
    }

    private static void echo(DatagramSocket socket) {
        byte[] room = new byte[2048];
        try {
            while (true) {
                DatagramPacket packet = new DatagramPacket(room, room.length);
                socket.receive(packet);
                String asked = new String(room, 0, packet.getLength(), StandardCharsets.US_ASCII);
                byte[] answer = (NAME + " " + asked).getBytes(StandardCharsets.US_ASCII);
                DatagramPacket reply = new DatagramPacket(answer, answer.length, packet.getSocketAddress());
                if (asked.startsWith("sleep ")) {
                    say("SLEEPS " + asked);
                    start(() -> {
                        sleep(Long.parseLong(asked.substring(6)));
                        try {
                            socket.send(reply);
                        } catch (IOException e) {
                            say("SEND-FAILED " + e);
                        }
                    }, true);
                } else {
                    socket.send(reply);
                }
            }
        } catch (IOException e) {
            say("RECEIVE-FAILED " + e);
        }
    }

    private static void sleep(long millis) {
        try {
            Thread.sleep(millis);
        } catch (InterruptedException e) {
            say("INTERRUPTED");
        }
    }

    private static void say(String line) {
        System.out.println(line);
        System.out.flush();
    }
}
