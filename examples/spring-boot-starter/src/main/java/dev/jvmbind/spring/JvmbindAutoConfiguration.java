package dev.jvmbind.spring;

import dev.jvmbind.ServiceLifecycle;
import org.springframework.boot.autoconfigure.AutoConfiguration;
import org.springframework.boot.autoconfigure.condition.ConditionalOnClass;
import org.springframework.boot.availability.AvailabilityChangeEvent;
import org.springframework.boot.availability.ReadinessState;
import org.springframework.context.ApplicationContext;
import org.springframework.context.event.EventListener;

/**
 * Tells jvmbind when the application accepts traffic, and Spring when jvmbind drains it.
 *
 * <p>Readiness becomes {@link ServiceLifecycle#ready()}. A drain becomes {@link ReadinessState#REFUSING_TRAFFIC}, so health
 * groups and listeners of the application see it before the shutdown that SIGTERM begins.
 */
@AutoConfiguration
@ConditionalOnClass(ServiceLifecycle.class)
public class JvmbindAutoConfiguration {
    JvmbindAutoConfiguration(ApplicationContext context) {
        ServiceLifecycle.onDrain(() -> AvailabilityChangeEvent.publish(context, ReadinessState.REFUSING_TRAFFIC));
    }

    @EventListener
    void readiness(AvailabilityChangeEvent<ReadinessState> event) {
        if (event.getState() == ReadinessState.ACCEPTING_TRAFFIC) {
            ServiceLifecycle.ready();
        }
    }
}
