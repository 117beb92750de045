import java.io.File;
import org.snmp4j.TransportMapping;
import org.snmp4j.agent.BaseAgent;
import org.snmp4j.agent.CommandProcessor;
import org.snmp4j.agent.mo.snmp.RowStatus;
import org.snmp4j.agent.mo.snmp.SnmpCommunityMIB;
import org.snmp4j.agent.mo.snmp.SnmpNotificationMIB;
import org.snmp4j.agent.mo.snmp.SnmpTargetMIB;
import org.snmp4j.agent.mo.snmp.StorageType;
import org.snmp4j.agent.mo.snmp.VacmMIB;
import org.snmp4j.agent.security.MutableVACM;
import org.snmp4j.mp.MPv3;
import org.snmp4j.security.SecurityLevel;
import org.snmp4j.security.SecurityModel;
import org.snmp4j.security.USM;
import org.snmp4j.smi.Integer32;
import org.snmp4j.smi.OID;
import org.snmp4j.smi.OctetString;
import org.snmp4j.smi.UdpAddress;
import org.snmp4j.smi.Variable;
import org.snmp4j.transport.DefaultUdpTransportMapping;

/** An SNMP agent that answers the community "public". */
public class SnmpMain extends BaseAgent {
    private final int port;

    SnmpMain(int port) {
        super(new File("boot"), new File("config"), new CommandProcessor(new OctetString(MPv3.createLocalEngineID())));
        this.port = port;
    }

    @Override
    protected void initTransportMappings() throws java.io.IOException {
        transportMappings = new TransportMapping<?>[] {new DefaultUdpTransportMapping(new UdpAddress("0.0.0.0/" + port))};
    }

    @Override
    protected void registerManagedObjects() {
    }

    @Override
    protected void unregisterManagedObjects() {
    }

    @Override
    protected void addUsmUser(USM usm) {
    }

    @Override
    protected void addNotificationTargets(SnmpTargetMIB target, SnmpNotificationMIB notification) {
    }

    @Override
    protected void addViews(VacmMIB vacm) {
        vacm.addGroup(SecurityModel.SECURITY_MODEL_SNMPv2c, new OctetString("cpublic"), new OctetString("v1v2group"), StorageType.nonVolatile);
        vacm.addAccess(new OctetString("v1v2group"), new OctetString("public"), SecurityModel.SECURITY_MODEL_ANY, SecurityLevel.NOAUTH_NOPRIV,
                MutableVACM.VACM_MATCH_EXACT, new OctetString("fullReadView"), new OctetString(), new OctetString(), StorageType.nonVolatile);
        vacm.addViewTreeFamily(new OctetString("fullReadView"), new OID("1.3"), new OctetString(), VacmMIB.vacmViewIncluded, StorageType.nonVolatile);
    }

    @Override
    protected void addCommunities(SnmpCommunityMIB community) {
        Variable[] row = {new OctetString("public"), new OctetString("cpublic"), getAgent().getContextEngineID(), new OctetString("public"),
            new OctetString(), new Integer32(StorageType.nonVolatile), new Integer32(RowStatus.active)};
        community.getSnmpCommunityEntry().addRow(community.getSnmpCommunityEntry().createRow(new OctetString("public2public").toSubIndex(true), row));
    }

    public static void main(String[] args) throws Exception {
        SnmpMain agent = new SnmpMain(Integer.parseInt(args[0]));
        agent.init();
        agent.addShutdownHook();
        agent.getServer().addContext(new OctetString("public"));
        agent.finishInit();
        agent.run();
        Thread.currentThread().join();
    }
}
