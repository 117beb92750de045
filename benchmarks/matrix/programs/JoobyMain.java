import io.jooby.Jooby;

/** Jooby with one page. */
public class JoobyMain {
    public static void main(String[] args) {
        Jooby.runApp(new String[] {"server.port=" + args[0], "server.host=0.0.0.0"}, app -> app.get("/", context -> "jooby"));
    }
}
