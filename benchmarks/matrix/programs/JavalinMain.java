import io.javalin.Javalin;

/** Javalin with one page. */
public class JavalinMain {
    public static void main(String[] args) {
        Javalin.create().get("/", context -> context.result("javalin")).start(Integer.parseInt(args[0]));
    }
}
