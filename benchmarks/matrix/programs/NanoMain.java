import fi.iki.elonen.NanoHTTPD;

/** NanoHTTPD with one page. */
public class NanoMain extends NanoHTTPD {
    NanoMain(int port) {
        super(port);
    }

    @Override
    public Response serve(IHTTPSession session) {
        return newFixedLengthResponse("nano");
    }

    public static void main(String[] args) throws Exception {
        new NanoMain(Integer.parseInt(args[0])).start(SOCKET_READ_TIMEOUT, false);
    }
}
