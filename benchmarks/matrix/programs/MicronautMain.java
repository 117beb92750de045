package matrix;

import io.micronaut.http.annotation.Controller;
import io.micronaut.http.annotation.Get;
import io.micronaut.runtime.Micronaut;

/** Micronaut with one page. */
public class MicronautMain {
    /** The page. */
    @Controller
    public static class Page {
        @Get
        public String page() {
            return "micronaut";
        }
    }

    public static void main(String[] args) {
        Micronaut.run(MicronautMain.class, "-micronaut.server.port=" + args[0]);
    }
}
