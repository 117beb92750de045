package probe;

import java.nio.ByteBuffer;
import java.nio.channels.AsynchronousServerSocketChannel;
import java.nio.channels.AsynchronousSocketChannel;
import java.nio.channels.CompletionHandler;
import java.util.concurrent.CountDownLatch;

/** Serves HTTP from an AsynchronousServerSocketChannel (NIO2): HOST PORT. */
public final class AsyncServer {
    private AsyncServer() {}

    public static void main(String[] args) throws Exception {
        AsynchronousServerSocketChannel server = AsynchronousServerSocketChannel.open();
        server.bind(Wire.address(args[0], Integer.parseInt(args[1])));
        Wire.say("BOUND " + server.getLocalAddress());
        server.accept(null, new CompletionHandler<AsynchronousSocketChannel, Void>() {
            @Override
            public void completed(AsynchronousSocketChannel connection, Void nothing) {
                server.accept(null, this);
                try (connection) {
                    ByteBuffer request = ByteBuffer.allocate(4096);
                    if (connection.read(request).get() > 0) {
                        ByteBuffer out = ByteBuffer.wrap(Wire.answer("async remote=" + connection.getRemoteAddress()));
                        while (out.hasRemaining()) {
                            connection.write(out).get();
                        }
                    }
                } catch (Exception gone) {
                    Wire.say("SERVE-FAILED " + Wire.failure(gone));
                }
            }

            @Override
            public void failed(Throwable e, Void nothing) {
                Wire.say("ACCEPT-FAILED " + Wire.failure(e));
            }
        });
        Wire.say("READY");
        new CountDownLatch(1).await();
    }
}
