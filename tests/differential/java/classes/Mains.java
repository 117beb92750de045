/** Main methods that the launcher takes or refuses. */
public class Mains {
    public static class Returns {
        public static int main(String[] args) {
            return 3;
        }
    }

    public static class NotStatic {
        public void main(String[] args) {
            System.out.println("not static");
        }
    }

    public static class NotPublic {
        static void main(String[] args) {
            System.out.println("not public");
        }
    }

    public static class Private {
        private static void main(String[] args) {
            System.out.println("private");
        }
    }

    public static class NoArguments {
        public static void main() {
            System.out.println("no arguments");
        }
    }

    public static class InstanceNoArguments {
        void main() {
            System.out.println("instance, no arguments");
        }
    }

    public static class NoConstructor {
        NoConstructor(int number) {
        }

        void main() {
            System.out.println("never");
        }
    }

    public static class Varargs {
        public static void main(String... args) {
            System.out.println("varargs " + args.length);
        }
    }

    public static class Inherits extends Varargs {
    }

    public static class Nothing {
    }

    public static class FailsToLoad {
        static {
            System.out.println("initializer");
            if (true) {
                throw new IllegalStateException("in the initializer");
            }
        }

        public static void main(String[] args) {
            System.out.println("never");
        }
    }

    public static class ConstructorFails {
        public ConstructorFails() {
            throw new IllegalStateException("in the constructor");
        }

        public void main(String[] args) {
            System.out.println("never");
        }
    }

    interface Face {
        static void main(String[] args) {
            System.out.println("interface");
        }
    }

    enum Number {
        ONE;

        public static void main(String[] args) {
            System.out.println("enum " + ONE);
        }
    }
}
