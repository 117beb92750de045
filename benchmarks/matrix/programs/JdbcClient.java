import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.net.ConnectException;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.Statement;

/** Writes one record on a connection of its own for each line that it reads; "verify" lists all records. */
public class JdbcClient {
    public static void main(String[] args) throws Exception {
        DriverManager.setLoginTimeout(30);
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            try (Connection connection = DriverManager.getConnection(args[0], args[1], args[2])) {
                answer(connection, line);
            } catch (Exception failure) {
                System.out.println((refused(failure) ? "refused " : "failed ") + failure.toString().replace('\n', ' '));
            }
        }
    }

    private static void answer(Connection connection, String line) throws Exception {
        if (line.equals("verify")) {
            StringBuilder found = new StringBuilder("ok");
            try (Statement statement = connection.createStatement(); ResultSet rows = statement.executeQuery("SELECT n FROM records")) {
                while (rows.next()) {
                    found.append(' ').append(rows.getString(1));
                }
            }
            System.out.println(found);
            return;
        }
        boolean there = false;
        try (ResultSet tables = connection.getMetaData().getTables(null, null, "RECORDS", null)) {
            there = tables.next();
        }
        if (!there) {
            try (Statement statement = connection.createStatement()) {
                statement.execute("CREATE TABLE records (n VARCHAR(40) PRIMARY KEY)");
            }
        }
        try (PreparedStatement statement = connection.prepareStatement("INSERT INTO records VALUES (?)")) {
            statement.setString(1, line);
            statement.execute();
        }
        System.out.println("ok");
    }

    private static boolean refused(Throwable failure) {
        for (Throwable cause = failure; cause != null; cause = cause.getCause()) {
            if (cause instanceof ConnectException || String.valueOf(cause.getMessage()).contains("Connection refused")) {
                return true;
            }
        }
        return false;
    }
}
