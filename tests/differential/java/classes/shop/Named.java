package shop;

/** A main class in a package. */
public class Named {
    public static void main(String[] args) {
        System.out.println(Named.class.getName() + " " + args.length + " " + System.getProperty("sun.java.command"));
    }
}
