package shim;

import dev.jvmbind.InheritedChannels;
import dev.jvmbind.ServiceLifecycle;
import java.net.InetSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.DatagramChannel;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;

/** Serves the listener "http", or a port of its own where there is none, and echoes on "dns" where there is that. */
public final class Named {
    private Named() {}

    public static void main(String[] args) throws Exception {
        ServerSocketChannel server = InheritedChannels.serverSocketChannel("http").orElse(null);
        if (server == null) {
            server = ServerSocketChannel.open().bind(new InetSocketAddress(Integer.parseInt(args[0])));
        }
        var source = InheritedChannels.class.getProtectionDomain().getCodeSource();
        System.out.println("api of " + source.getLocation() + ", class path " + System.getProperty("java.class.path"));
        System.out.println("names " + InheritedChannels.names() + " at " + server.getLocalAddress());
        DatagramChannel dns = InheritedChannels.datagramChannel("dns").orElse(null);
        if (dns != null) {
            new Thread(() -> echo(dns)).start();
        }
        ServiceLifecycle.onDrain(() -> System.out.println("drain"));
        ServiceLifecycle.onReload(() -> System.out.println("reload"));
        ServiceLifecycle.status("warm");
        ServiceLifecycle.ready();
        System.out.println("ready");
        while (true) {
            try (SocketChannel client = server.accept()) {
                client.read(ByteBuffer.allocate(4096));
                String answer = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nnamed\n";
                client.write(ByteBuffer.wrap(answer.getBytes(StandardCharsets.US_ASCII)));
            }
        }
    }

    private static void echo(DatagramChannel channel) {
        try {
            while (true) {
                ByteBuffer packet = ByteBuffer.allocate(512);
                var client = channel.receive(packet);
                channel.send(packet.flip(), client);
            }
        } catch (Exception e) {
            e.printStackTrace();
        }
    }
}
