package daemon;

import java.io.IOException;
import org.apache.commons.daemon.Daemon;
import org.apache.commons.daemon.DaemonContext;
import org.apache.commons.daemon.DaemonController;
import org.apache.commons.daemon.DaemonUserSignal;

/** A daemon with the interfaces of commons-daemon; the path of a request says what it asks of its controller. */
public final class WithInterface extends Plain implements Daemon, DaemonUserSignal {
    private DaemonController controller;

    @Override
    public void init(DaemonContext context) throws IOException {
        controller = context.getController();
        init(context.getArguments());
    }

    @Override
    public void signal() {
        say("signal");
    }

    @Override
    void asked(String path) {
        switch (path) {
            case "/reload":
                controller.reload();
                break;
            case "/shutdown":
                controller.shutdown();
                break;
            case "/fail":
                controller.fail("disk full", new IllegalStateException("why"));
                break;
            default:
                break;
        }
    }
}
