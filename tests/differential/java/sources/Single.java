public class Single {
    public static void main(String[] args) throws Exception {
        System.out.println("single " + args.length + " " + System.getProperty("sun.java.command"));
        System.out.println(Single.class.getClassLoader().getClass().getName());
        System.out.println(System.getProperty("jdk.sources") + " " + System.getProperty("sun.java.launcher.mode"));
        if (args.length > 0) {
            throw new IllegalStateException(args[0]);
        }
    }
}
