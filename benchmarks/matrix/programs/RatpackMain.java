import ratpack.server.RatpackServer;

/** Ratpack with one page. */
public class RatpackMain {
    public static void main(String[] args) throws Exception {
        RatpackServer.start(server -> server
                .serverConfig(config -> config.port(Integer.parseInt(args[0])))
                .handlers(chain -> chain.get(context -> context.render("ratpack"))));
    }
}
