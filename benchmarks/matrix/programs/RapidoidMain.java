import org.rapidoid.setup.App;
import org.rapidoid.setup.On;

/** Rapidoid with one page. */
public class RapidoidMain {
    public static void main(String[] args) {
        App.run(new String[] {"on.port=" + args[0]});
        On.get("/").plain("rapidoid");
    }
}
