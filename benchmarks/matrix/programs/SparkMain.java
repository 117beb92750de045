import spark.Spark;

/** Spark with one page. */
public class SparkMain {
    public static void main(String[] args) {
        Spark.port(Integer.parseInt(args[0]));
        Spark.get("/", (request, response) -> "spark");
    }
}
