import org.apache.pekko.actor.ActorSystem;
import org.apache.pekko.http.javadsl.Http;
import org.apache.pekko.http.javadsl.model.HttpResponse;

/** Pekko HTTP with one page. */
public class PekkoMain {
    public static void main(String[] args) {
        ActorSystem system = ActorSystem.create();
        Http.get(system)
                .newServerAt("0.0.0.0", Integer.parseInt(args[0]))
                .bindSync(request -> HttpResponse.create().withEntity("pekko"));
    }
}
