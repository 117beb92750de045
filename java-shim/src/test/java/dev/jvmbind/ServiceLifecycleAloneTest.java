package dev.jvmbind;

import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;

/** The calls in a program that jvmbind does not run. */
class ServiceLifecycleAloneTest {
    /** Each call returns, and no thread is started. */
    @Test
    void nothingHappens() {
        ServiceLifecycle.ready();
        ServiceLifecycle.status("serving");
        ServiceLifecycle.onDrain(() -> { });
        ServiceLifecycle.onReload(() -> { });

        assertTrue(Thread.getAllStackTraces().keySet().stream()
                .noneMatch(thread -> thread.getName().equals("jvmbind-lifecycle")));
    }

    /** A missing argument is the caller's mistake with and without jvmbind. */
    @Test
    void nullIsRefused() {
        assertThrows(NullPointerException.class, () -> ServiceLifecycle.status(null));
        assertThrows(NullPointerException.class, () -> ServiceLifecycle.onDrain(null));
        assertThrows(NullPointerException.class, () -> ServiceLifecycle.onReload(null));
    }
}
