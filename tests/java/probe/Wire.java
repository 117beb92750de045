package probe;

import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.net.SocketException;
import java.nio.ByteBuffer;
import java.nio.channels.ByteChannel;
import java.nio.charset.StandardCharsets;

/** What the probes share: their line protocol on stdout and a one-request HTTP answer. */
final class Wire {
    private Wire() {}

    /** Prints one line of the protocol, flushed at once so that a test can wait for it. */
    static void say(String line) {
        System.out.println(line);
        System.out.flush();
    }

    /** The wildcard address as a server means it when it gives only a port; "*" stands for it. */
    static InetSocketAddress address(String host, int port) {
        return host.equals("*") ? new InetSocketAddress(port) : new InetSocketAddress(host, port);
    }

    static byte[] answer(String body) {
        byte[] text = body.getBytes(StandardCharsets.UTF_8);
        String head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: " + text.length
                + "\r\nConnection: close\r\n\r\n";
        return (head + body).getBytes(StandardCharsets.UTF_8);
    }

    /** Reads up to the end of the request's head, answers, closes. */
    static void serve(Socket connection, String body) {
        try (connection) {
            InputStream in = connection.getInputStream();
            int last = 0;
            for (int c; (c = in.read()) >= 0; ) {
                last = (last << 8) | c;
                if (last == 0x0d0a0d0a) {
                    break;
                }
            }
            OutputStream out = connection.getOutputStream();
            out.write(answer(body));
            out.flush();
        } catch (SocketException gone) {
            // A prober may connect and leave without a request.
        } catch (IOException e) {
            say("SERVE-FAILED " + e);
        }
    }

    /** The same on a blocking channel (TCP or Unix domain). */
    static void serve(ByteChannel connection, String body) {
        try (connection) {
            ByteBuffer one = ByteBuffer.allocate(1);
            int last = 0;
            while (last != 0x0d0a0d0a && connection.read(one) >= 0) {
                last = (last << 8) | (one.get(0) & 0xff);
                one.clear();
            }
            ByteBuffer out = ByteBuffer.wrap(answer(body));
            while (out.hasRemaining()) {
                connection.write(out);
            }
        } catch (IOException gone) {
            // A prober may connect and leave without a request.
        }
    }

    /** Class and message of an exception in one line. */
    static String failure(Throwable e) {
        return e.getClass().getName() + ": " + e.getMessage();
    }
}
