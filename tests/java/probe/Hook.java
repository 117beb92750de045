package probe;

/** A shutdown hook that says that it runs. */
public final class Hook extends Thread {
    @Override
    public void run() {
        System.out.println("hook");
        System.out.flush();
    }
}
