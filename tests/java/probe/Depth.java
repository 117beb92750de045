package probe;

/** Prints how deep main can recurse before its stack is full. */
public final class Depth {
    private static int depth;

    private Depth() {}

    public static void main(String[] args) {
        try {
            down();
        } catch (StackOverflowError full) {
            Wire.say(String.valueOf(depth));
        }
    }

    private static void down() {
        depth++;
        down();
    }
}
