import io.grpc.netty.shaded.io.grpc.netty.NettyServerBuilder;
import io.grpc.protobuf.services.HealthStatusManager;

/** gRPC with its own health service. */
public class GrpcMain {
    public static void main(String[] args) throws Exception {
        NettyServerBuilder.forPort(Integer.parseInt(args[0]))
                .addService(new HealthStatusManager().getHealthService())
                .build()
                .start()
                .awaitTermination();
    }
}
