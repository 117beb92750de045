package probe;

import java.net.SocketOption;
import java.net.StandardSocketOptions;
import java.nio.channels.DatagramChannel;
import java.nio.channels.NetworkChannel;
import java.nio.channels.ServerSocketChannel;

/** Sets socket options before bind and prints what they are before and after it: tcp|udp HOST PORT. */
public final class Options {
    private Options() {}

    public static void main(String[] args) throws Exception {
        boolean tcp = args[0].equals("tcp");
        NetworkChannel channel = tcp ? ServerSocketChannel.open() : DatagramChannel.open();
        channel.setOption(StandardSocketOptions.SO_RCVBUF, 33333);
        if (tcp) {
            channel.setOption(StandardSocketOptions.SO_REUSEADDR, true);
        } else {
            channel.setOption(StandardSocketOptions.SO_SNDBUF, 44444);
            channel.setOption(StandardSocketOptions.SO_BROADCAST, true);
            channel.setOption(StandardSocketOptions.IP_TOS, 0x10);
            channel.setOption(StandardSocketOptions.IP_MULTICAST_TTL, 7);
            channel.setOption(StandardSocketOptions.IP_MULTICAST_LOOP, false);
        }
        print("BEFORE", channel);
        channel.bind(Wire.address(args[1], Integer.parseInt(args[2])));
        print("AFTER", channel);
        Wire.say("DONE");
    }

    private static void print(String when, NetworkChannel channel) throws Exception {
        StringBuilder line = new StringBuilder(when);
        channel.supportedOptions().stream()
                .sorted((a, b) -> a.name().compareTo(b.name()))
                .forEach(option -> line.append(' ').append(option.name()).append('=').append(value(channel, option)));
        Wire.say(line.toString());
    }

    private static Object value(NetworkChannel channel, SocketOption<?> option) {
        try {
            return channel.getOption(option);
        } catch (Exception e) {
            return "?";
        }
    }
}
