"""More distributions by their own start scripts: graph, analysis and application servers, and packages of Debian's.

Imported by the package alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from exchanges import http_get, say
from recipe import Recipe, Site

from recipes.scripts import ANY, copied

if TYPE_CHECKING:
    from collections.abc import Callable


def gremlin(action: str) -> Callable[[Site], list[str]]:
    """Give Gremlin Server its own REST configuration, with the wildcard address."""

    def prepare(site: Site) -> list[str]:
        home = site.copy()
        text = (home / "conf/gremlin-server-rest-modern.yaml").read_text()
        site.environment["GREMLIN_YAML"] = str(site.write("server.yaml", text.replace("host: localhost", f"host: {ANY}")))
        site.environment["JAVA_OPTIONS"] = "-Xmx256m"
        return [str(home / "bin/gremlin-server.sh"), action]

    return prepare


def zookeeper_debian(site: Site) -> list[str]:
    """Give zkServer.sh a configuration; its environment is that of Debian's package."""
    config = site.write("zoo.cfg", f"tickTime=2000\ndataDir={site.folder('data')}\nclientPort=2181\nadmin.enableServer=false\n"
                        "4lw.commands.whitelist=*\n")  # fmt: skip
    return ["/usr/share/zookeeper/bin/zkServer.sh", "start-foreground", str(config)]


def openrefine(site: Site) -> list[str]:
    """Give it a folder for its projects."""
    return ["/usr/share/openrefine/refine", "-i", ANY, "-p", "3333", "-d", str(site.folder("data")), "-x", "refine.headless=true"]


def jetty_debian(site: Site) -> list[str]:
    """Make a base of Debian's Jetty with one page."""
    site.write("base/webapps/ROOT/index.html", "a page")
    site.write("base/start.ini", "--module=http\n--module=deploy\njetty.http.port=80\n")
    base = site.own(site.base / "base")
    site.environment |= {"JETTY_HOME": "/usr/share/jetty9", "JETTY_BASE": str(base), "JETTY_RUN": str(base)}
    return ["/usr/share/jetty9/bin/jetty.sh", "start"]


RUOK = say(b"ruok", b"imok", b"")

RECIPES = [
    *(
        Recipe(
            f"gremlin-{action}",
            f"Gremlin Server, `gremlin-server.sh {action}`",
            gremlin(action),
            http_get("/?gremlin=100-1", body="99"),
            ("org.apache.tinkerpop:gremlin-server:3.7.3:zip:distribution",),
            listen=("0.0.0.0:80:8182",),
            plain_port=8182,
            script=True,
            needs="`host: 0.0.0.0`",
            own_stop="stop" if action == "start" else "",  # the other writes no pid file
        )
        for action in ("console", "start")
    ),
    Recipe(
        "payara",
        "Payara 6, `startserv`",
        copied("glassfish/bin/startserv"),
        http_get(body="Payara"),
        ("fish.payara.distributions:payara:6.2024.7:zip",),
        listen=("80:8080",),
        plain_port=8080,
        script=True,
        own_stop="./stopserv",
    ),
    Recipe(
        "payara-asadmin",
        "Payara 6, `asadmin start-domain --verbose`",
        copied("bin/asadmin", "start-domain", "--verbose"),
        http_get(body="Payara"),
        ("fish.payara.distributions:payara:6.2024.7:zip",),
        listen=("80:8080",),
        plain_port=8080,
        script=True,
    ),
    Recipe(
        "zookeeper-debian",
        "Debian's ZooKeeper, `zkServer.sh start-foreground`",
        zookeeper_debian,
        RUOK,
        listen=("281:2181",),
        plain_port=2181,
        script=True,
        package="zookeeper",
        needs="no `JAVA=/usr/bin/java` in `/etc/zookeeper/conf/environment`",
    ),
    Recipe(
        "jetty9-debian",
        "Debian's Jetty 9, `jetty.sh start`",
        jetty_debian,
        http_get(body="a page"),
        script=True,
        package="jetty9",
        own_stop="stop",
    ),
    Recipe(
        "openrefine-debian",
        "Debian's OpenRefine, `refine`",
        openrefine,
        http_get(body="OpenRefine"),
        listen=("0.0.0.0:80:3333",),
        plain_port=3333,
        script=True,
        package="openrefine",
        needs="`-i 0.0.0.0`, and another port than 80 of its own, which it asks before it starts",
    ),
]
