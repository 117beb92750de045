import org.eclipse.californium.core.CoapResource;
import org.eclipse.californium.core.CoapServer;
import org.eclipse.californium.core.config.CoapConfig;
import org.eclipse.californium.core.server.resources.CoapExchange;
import org.eclipse.californium.elements.config.Configuration;
import org.eclipse.californium.elements.config.UdpConfig;

/** Californium with one resource. */
public class CoapMain {
    public static void main(String[] args) {
        CoapConfig.register();
        UdpConfig.register();
        CoapServer server = new CoapServer(Configuration.createStandardWithoutFile(), Integer.parseInt(args[0]));
        server.add(new CoapResource("a") {
            @Override
            public void handleGET(CoapExchange exchange) {
                exchange.respond("coap");
            }
        });
        server.start();
    }
}
