import com.github.fppt.jedismock.RedisServer;

/** The Redis protocol in Java, in memory. */
public class JedisMockMain {
    public static void main(String[] args) throws Exception {
        RedisServer.newRedisServer(Integer.parseInt(args[0])).start();
        Thread.currentThread().join();
    }
}
