/** Derby's network server, as its own command starts it, with its databases in the working directory. */
public class DerbyMain {
    public static void main(String[] args) throws Exception {
        org.apache.derby.drda.NetworkServerControl.main(new String[] {"start", "-h", "0.0.0.0", "-p", args[0], "-noSecurityManager"});
    }
}
