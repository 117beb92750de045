package shop.main;

import java.lang.management.ManagementFactory;
import java.util.Arrays;
import shop.lib.Price;

public class Till {
    public static void main(String[] args) throws Exception {
        System.out.println(Till.class.getModule().getName() + " " + Arrays.toString(args));
        for (String name : new String[] {"jdk.module.main", "jdk.module.main.class", "jdk.module.path", "java.class.path", "sun.java.command"}) {
            System.out.println(name + "=" + System.getProperty(name));
        }
        System.out.println(Price.of("tea"));
        System.out.println(ManagementFactory.getThreadMXBean().getThreadCount() > 0);
        System.out.println(Thread.currentThread().getContextClassLoader().getClass().getName());
        if (args.length > 0 && args[0].equals("throw")) {
            throw new IllegalStateException("in a module");
        }
        if (args.length > 0 && args[0].equals("open")) {
            var field = String.class.getDeclaredField("value");
            field.setAccessible(true);
            System.out.println("opened");
        }
    }
}
