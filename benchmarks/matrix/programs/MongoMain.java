import de.bwaldvogel.mongo.MongoServer;
import de.bwaldvogel.mongo.backend.memory.MemoryBackend;

/** The MongoDB protocol in Java, in memory. */
public class MongoMain {
    public static void main(String[] args) {
        new MongoServer(new MemoryBackend()).bind("0.0.0.0", Integer.parseInt(args[0]));
    }
}
