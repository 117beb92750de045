import org.apache.hc.core5.http.io.entity.StringEntity;
import org.apache.hc.core5.http.impl.bootstrap.ServerBootstrap;

/** Apache HttpCore's classic server. */
public class HttpCoreMain {
    public static void main(String[] args) throws Exception {
        ServerBootstrap.bootstrap()
                .setListenerPort(Integer.parseInt(args[0]))
                .setCanonicalHostName("localhost")
                .register("*", (request, response, context) -> response.setEntity(new StringEntity("httpcore")))
                .create()
                .start();
        Thread.currentThread().join();
    }
}
