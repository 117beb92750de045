import com.linecorp.armeria.common.HttpResponse;
import com.linecorp.armeria.server.Server;

/** Armeria with one page. */
public class ArmeriaMain {
    public static void main(String[] args) {
        Server.builder()
                .http(Integer.parseInt(args[0]))
                .service("/", (context, request) -> HttpResponse.of("armeria"))
                .build()
                .start()
                .join();
    }
}
