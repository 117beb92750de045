"""Servers that store: databases, brokers, directories, caches. A reload must lose nothing that they have confirmed.

Imported by the package alone.
"""

from __future__ import annotations

import struct

from exchanges import http_get, ldap_search, say
from recipe import Recipe, Site
from records import JavaClient, Ldap, Mqtt, Stomp, ZooKeeper

from recipes.web import main, own


def zookeeper(site: Site) -> list[str]:
    """Write its configuration."""
    path = site.write(
        "zoo.cfg", f"tickTime=2000\ndataDir={site.folder('data')}\nclientPort=80\nadmin.enableServer=false\nmaxClientCnxns=0\n"
    )
    return site.main("org.apache.zookeeper.server.quorum.QuorumPeerMain", str(path))


def kafka(site: Site) -> list[str]:
    """Write a KRaft configuration of one node and format its folder."""
    text = ("process.roles=broker,controller\nnode.id=1\ncontroller.quorum.voters=1@localhost:9093\n"
            "listeners=PLAINTEXT://:92,CONTROLLER://:9093\nadvertised.listeners=PLAINTEXT://localhost:92\n"
            "controller.listener.names=CONTROLLER\noffsets.topic.replication.factor=1\n"
            f"transaction.state.log.replication.factor=1\nlog.dirs={site.folder('data')}\n")  # fmt: skip
    path = site.write("kafka.properties", text)
    site.java(*site.main("kafka.tools.StorageTool", "format", "-t", "MkU3OEVBNTcwNTJENDM2Qg", "-c", str(path)))
    return site.main("kafka.Kafka", str(path), options=("-Xmx512m",))


def hazelcast(site: Site) -> list[str]:
    """Write a configuration of one member."""
    path = site.write(
        "hazelcast.xml",
        """<hazelcast xmlns="http://www.hazelcast.com/schema/config"><network>
      <port auto-increment="false">80</port><join><auto-detection enabled="false"/><multicast enabled="false"/></join>
      <rest-api enabled="true"><endpoint-group name="HEALTH_CHECK" enabled="true"/></rest-api></network></hazelcast>""",
    )
    return site.main("com.hazelcast.core.server.HazelcastMemberStarter", options=(f"-Dhazelcast.config={path}",))


def apacheds(site: Site) -> list[str]:
    """Run it as its own main class does, in an instance folder that it fills itself."""
    return ["-cp", str(site.jar()), "org.apache.directory.server.UberjarMain", str(site.folder("instance"))]


DERBY = JavaClient("JdbcClient", "jdbc:derby://127.0.0.1:{port}/matrix;create=true", "a", "a")
H2 = JavaClient("JdbcClient", "jdbc:h2:tcp://127.0.0.1:{port}/./matrix;WRITE_DELAY=0", "a", "a")
HSQLDB = JavaClient("JdbcClient", "jdbc:hsqldb:hsql://127.0.0.1:{port}/x", "SA", "")
QUERY = struct.pack("<i", 0) + b"admin.$cmd\0" + struct.pack("<iii", 0, -1, 19) + b"\x10isMaster\0" + struct.pack("<ix", 1)
MONGO = struct.pack("<iiii", 16 + len(QUERY), 1, 0, 2004) + QUERY

RECIPES = [
    Recipe(
        "activemq",
        "ActiveMQ Classic 6, embedded",
        own("ActiveMqMain"),
        Stomp(),
        (
            "org.apache.activemq:activemq-broker:6.1.4",
            "org.apache.activemq:activemq-kahadb-store:6.1.4",
            "org.apache.activemq:activemq-stomp:6.1.4",
        ),
    ),
    Recipe(
        "artemis-embedded",
        "ActiveMQ Artemis, embedded",
        own("ArtemisMain"),
        Stomp(),
        ("org.apache.activemq:artemis-server:2.40.0", "org.apache.activemq:artemis-stomp-protocol:2.40.0"),
    ),
    Recipe("moquette", "Moquette (MQTT)", own("MoquetteMain"), Mqtt(), ("io.moquette:moquette-broker:0.17",)),
    Recipe(
        "hivemq",
        "HiveMQ CE (MQTT), embedded",
        own("HiveMqMain"),
        Mqtt(),
        ("com.hivemq:hivemq-community-edition-embedded:2025.5",),
        listen=("0.0.0.0:80",),
        oldest=21,
    ),
    Recipe(
        "kafka",
        "Kafka 3.9, KRaft",
        kafka,
        JavaClient("KafkaClient", "{port}"),
        ("org.apache.kafka:kafka_2.13:3.9.0",),
        listen=("92",),
        threads=1,
    ),
    Recipe(
        "zookeeper",
        "ZooKeeper 3.9",
        zookeeper,
        ZooKeeper(),
        (
            "org.apache.zookeeper:zookeeper:3.9.3",
            "io.dropwizard.metrics:metrics-core:4.2.29",
            "org.xerial.snappy:snappy-java:1.1.10.7",
        ),
    ),
    Recipe(
        "hsqldb",
        "HSQLDB",
        main("org.hsqldb.server.Server", "--database.0", "file:data/x;hsqldb.write_delay=false", "--dbname.0", "x", "--port", "80"),
        HSQLDB,
        ("org.hsqldb:hsqldb:2.7.4",),
        threads=1,
    ),
    Recipe(
        "h2",
        "H2, TCP server",
        main("org.h2.tools.Server", "-tcp", "-tcpPort", "80", "-tcpAllowOthers", "-ifNotExists"),
        H2,
        ("com.h2database:h2:2.3.232",),
        threads=1,
    ),
    Recipe(
        "derby",
        "Derby 10.16",
        own("DerbyMain"),
        DERBY,
        ("org.apache.derby:derbynet:10.16.1.1", "org.apache.derby:derbyclient:10.16.1.1"),
        threads=1,
    ),
    Recipe("hazelcast", "Hazelcast 5", hazelcast, http_get("/hazelcast/health/ready"), ("com.hazelcast:hazelcast:5.5.0",)),
    Recipe(
        "neo4j",
        "Neo4j 5, embedded with Bolt",
        own("Neo4jMain"),
        say(bytes.fromhex("6060b017" + "00000405" + "00000404" + "00000304" + "00000000"), b"\0\0\4\5"[:2], b""),
        ("org.neo4j:neo4j:5.26.0",),
    ),
    Recipe(
        "mongo", "mongo-java-server", own("MongoMain"), say(MONGO, b"", b"ismaster"), ("de.bwaldvogel:mongo-java-server:1.46.0",)
    ),
    Recipe(
        "jedis-mock",
        "jedis-mock (Redis protocol)",
        own("JedisMockMain"),
        say(b"*1\r\n$4\r\nPING\r\n", b"$4"),
        ("com.github.fppt:jedis-mock:1.1.4",),
    ),
    Recipe(
        "apacheds",
        "ApacheDS 2 (LDAP)",
        apacheds,
        Ldap(),
        ("org.apache.directory.server:apacheds-service:2.0.0.AM27:jar",),
        listen=("389:10389", "636:10636"),
        plain_port=10389,
    ),
    Recipe(
        "unboundid",
        "UnboundID in-memory LDAP server",
        main("com.unboundid.ldap.listener.InMemoryDirectoryServerTool", "--baseDN", "dc=example,dc=com", "--port", "389"),
        ldap_search,
        ("com.unboundid:unboundid-ldapsdk:7.0.2",),
        listen=("389",),
    ),
]
