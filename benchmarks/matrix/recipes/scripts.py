"""Distributions, each run by its own unmodified start script under `jvmbind wrap`.

Imported by the package alone.
"""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

from exchanges import greeting, http_get, say
from recipe import Recipe, Site
from records import JavaClient, Stomp

from recipes.web import TOMCAT, jetty_old
from support.runner import as_user
from support.servers import Jetty, Tomcat, give_to

if TYPE_CHECKING:
    from collections.abc import Callable


def catalina(action: str) -> Callable[[Site], list[str]]:
    """Run Tomcat's catalina.sh on a CATALINA_BASE."""

    def prepare(site: Site) -> list[str]:
        home = site.copy()
        site.environment["CATALINA_BASE"] = str(Tomcat(home, site.base / "tomcat", site.user).base)
        return [str(home / "bin/catalina.sh"), action]

    return prepare


def debian_tomcat(site: Site) -> list[str]:
    """Make an instance with Debian's own command, with its port changed, and run Debian's catalina.sh on it."""
    base = site.base / "tomcat"
    subprocess.run(["/usr/bin/tomcat10-instance-create", "-p", "80", str(base)], check=True, capture_output=True)
    site.environment["CATALINA_BASE"] = str(site.own(base))
    return ["/usr/share/tomcat10/bin/catalina.sh", "run"]


def jetty(action: str) -> Callable[[Site], list[str]]:
    """Run jetty.sh on a JETTY_BASE with the port in its http.ini."""

    def prepare(site: Site) -> list[str]:
        home, base = site.copy(), site.base / "jetty"
        if site.recipe.key.startswith("jetty12"):
            give_to(site.user, Jetty(home, base, site.user, site.jdk).base)
        else:
            jetty_old(site)
        with (base / "start.d/http.ini").open("a") as file:
            file.write("\njetty.http.port=80\n")
        site.environment |= {"JETTY_HOME": str(home), "JETTY_BASE": str(base), "JETTY_RUN": str(base)}
        return [str(home / "bin/jetty.sh"), action]

    return prepare


def copied(script: str, *arguments: str, **variables: str) -> Callable[[Site], list[str]]:
    """Run a script of a copy of the distribution that belongs to the service user."""

    def prepare(site: Site) -> list[str]:
        home = site.copy()
        site.environment |= {name: value.format(base=site.base, home=home) for name, value in variables.items()}
        return [str(home / script), *arguments]

    return prepare


def artemis(site: Site) -> list[str]:
    """Make a broker with Artemis' own command."""
    home, broker = site.copy(), site.base / "broker"
    words = ["create", "--user", "a", "--password", "a", "--allow-anonymous", "--silent", "--no-web", "--no-autotune", str(broker)]
    command = [*as_user(site.user.name), "env", f"JAVA_HOME={site.jdk.home}", str(home / "bin/artemis"), *words]
    subprocess.run(command, check=True, capture_output=True, cwd=site.base)
    return [str(broker / "bin/artemis"), "run"]


def wildfly(site: Site) -> list[str]:
    """Give it a server folder of its own."""
    base = site.base / "standalone"
    shutil.copytree(site.home() / "standalone", base)
    return [str(site.home() / "bin/standalone.sh"), "-b", ANY, f"-Djboss.server.base.dir={site.own(base)}"]


def liberty(site: Site) -> list[str]:
    """Write a server of one feature; TLS is off."""
    site.write("usr/servers/a/server.xml", "<server><featureManager><feature>servlet-6.0</feature></featureManager>"
               '<httpEndpoint id="defaultHttpEndpoint" host="*" httpPort="80" httpsPort="-1"/></server>')  # fmt: skip
    site.environment["WLP_USER_DIR"] = str(site.own(site.base / "usr"))
    return [str(site.home() / "bin/server"), "run", "a"]


ANY = "0.0.0.0"  # noqa: S104 - what such a server is told to bind
DERBY = ("org.apache.derby:derbyclient:10.16.1.1", "org.apache.derby:derbyshared:10.16.1.1")

ONCE = "`--reload restart`: it refuses a second start beside the first"

RECIPES = [
    Recipe(
        "tomcat9-script",
        "Tomcat 9, `catalina.sh run`",
        catalina("run"),
        TOMCAT,
        ("org.apache.tomcat:tomcat:9.0.98:zip",),
        script=True,
    ),
    Recipe(
        "tomcat10-script",
        "Tomcat 10.1, `catalina.sh run`",
        catalina("run"),
        TOMCAT,
        ("org.apache.tomcat:tomcat:10.1.59:zip",),
        script=True,
    ),
    Recipe(
        "tomcat11-script",
        "Tomcat 11, `catalina.sh run`",
        catalina("run"),
        TOMCAT,
        ("org.apache.tomcat:tomcat:11.0.24:zip",),
        script=True,
    ),
    Recipe(
        "tomcat11-start",
        "Tomcat 11, `catalina.sh start`",
        catalina("start"),
        TOMCAT,
        ("org.apache.tomcat:tomcat:11.0.24:zip",),
        script=True,
    ),
    Recipe(
        "tomcat10-debian",
        "Debian's Tomcat 10, `catalina.sh run`",
        debian_tomcat,
        http_get(status=404),
        script=True,
        package="tomcat10-user",
    ),
    Recipe(
        "jetty9-script",
        "Jetty 9.4, `jetty.sh run`",
        jetty("run"),
        http_get(body="a page"),
        ("org.eclipse.jetty:jetty-home:9.4.57.v20241219:zip",),
        script=True,
    ),
    Recipe(
        "jetty10-script",
        "Jetty 10, `jetty.sh run`",
        jetty("run"),
        http_get(body="a page"),
        ("org.eclipse.jetty:jetty-home:10.0.24:zip",),
        script=True,
        options=("--reload", "restart"),
        needs=ONCE,
    ),
    Recipe(
        "jetty12-script",
        "Jetty 12.1, `jetty.sh run`",
        jetty("run"),
        http_get(body="a page"),
        ("org.eclipse.jetty:jetty-home:12.1.5:zip",),
        script=True,
        options=("--reload", "restart"),
        needs=ONCE,
    ),
    Recipe(
        "jetty12-start",
        "Jetty 12.1, `jetty.sh start`",
        jetty("start"),
        http_get(body="a page"),
        ("org.eclipse.jetty:jetty-home:12.1.5:zip",),
        script=True,
        options=("--reload", "restart"),
        needs=ONCE,
    ),
    Recipe(
        "activemq-script",
        "ActiveMQ Classic, `activemq console`",
        copied("bin/activemq", "console"),
        Stomp(),
        ("org.apache.activemq:apache-activemq:5.18.3:zip:bin",),
        listen=("0.0.0.0:613:61613",),
        plain_port=61613,
        script=True,
    ),
    Recipe(
        "artemis",
        "ActiveMQ Artemis, `artemis run`",
        artemis,
        Stomp(),
        ("org.apache.activemq:apache-artemis:2.40.0:zip:bin",),
        listen=("613:61613",),
        plain_port=61613,
        script=True,
    ),
    Recipe(
        "karaf",
        "Karaf 4.4, `karaf server` (SSH)",
        copied("bin/karaf", "server"),
        greeting(b"SSH-2.0-"),
        ("org.apache.karaf:apache-karaf-minimal:4.4.7:zip",),
        listen=("0.0.0.0:22:8101",),
        plain_port=8101,
        script=True,
        options=("--reload", "restart"),
        needs=ONCE,
    ),
    Recipe(
        "wildfly",
        "WildFly 35, `standalone.sh`",
        wildfly,
        http_get(body="WildFly"),
        ("org.wildfly:wildfly-dist:35.0.1.Final:zip",),
        listen=("80:8080",),
        plain_port=8080,
        script=True,
        needs="`-b 0.0.0.0`",
    ),
    Recipe(
        "liberty",
        "Open Liberty, `server run`",
        liberty,
        http_get(),
        ("io.openliberty:openliberty-runtime:24.0.0.6:zip",),
        script=True,
    ),
    Recipe(
        "keycloak",
        "Keycloak 26, `kc.sh start-dev`",
        copied("bin/kc.sh", "start-dev", "--http-port=80", "--http-host=0.0.0.0"),
        http_get("/", status=302),
        ("org.keycloak:keycloak-quarkus-dist:26.0.7:zip",),
        script=True,
        needs="`--http-host=0.0.0.0`",
    ),
    Recipe(
        "qpid",
        "Qpid Broker-J 9, `qpid-server` (AMQP)",
        copied("9.2.0/bin/qpid-server", QPID_WORK="{base}"),
        say(b"AMQP\0\0\x09\x01", b"\x01\0\0", b""),
        ("org.apache.qpid:apache-qpid-broker-j:9.2.0:tar.gz:bin",),
        listen=("567:5672",),
        plain_port=5672,
        script=True,
    ),
    Recipe(
        "glassfish",
        "GlassFish 7, `startserv`",
        copied("glassfish/bin/startserv"),
        http_get(body="GlassFish"),
        ("org.glassfish.main.distributions:glassfish:7.0.20:zip",),
        listen=("80:8080",),
        plain_port=8080,
        script=True,
    ),
    Recipe(
        "derby-debian",
        "Debian's Derby, `derbyctl start`",
        lambda _site: ["/usr/bin/derbyctl", "start"],
        JavaClient("JdbcClient", "jdbc:derby://127.0.0.1:{port}/matrix;create=true", "a", "a"),
        DERBY,
        listen=("127.0.0.1:527:1527",),
        plain_port=1527,
        script=True,
        package="derby-tools",
        threads=1,
    ),
]
