import io.muserver.Method;
import io.muserver.MuServerBuilder;

/** mu-server with one page. */
public class MuMain {
    public static void main(String[] args) {
        MuServerBuilder.httpServer()
                .withHttpPort(Integer.parseInt(args[0]))
                .addHandler(Method.GET, "/", (request, response, parameters) -> response.write("mu"))
                .start();
    }
}
