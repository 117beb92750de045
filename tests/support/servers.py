"""Tomcat and Jetty as a user sets them up: the distribution, a base folder, the port number changed.

Run by pytest as root. Must not import jvmbind.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from .jdks import Jdk
    from .users import User

_INHERIT = """<?xml version="1.0"?>
<!DOCTYPE Configure PUBLIC "-//Jetty//Configure//EN" "https://jetty.org/configure_10_0.dtd">
<Configure id="Server" class="org.eclipse.jetty.server.Server">
  <Ref refid="httpConnector"><Set name="inheritChannel">true</Set></Ref>
</Configure>
"""


def give_to(user: User, *folders: Path) -> None:
    """Make folders (new or not) the user's own."""
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
        os.chown(folder, user.uid, user.gid)


class Tomcat:
    """A CATALINA_BASE made from the distribution; its configuration differs by the port number alone."""

    def __init__(self, home: Path, base: Path, user: User, *, port: int = 80, connector: str = "") -> None:
        """Lay it out below `base`; `connector` is added to the Connector element's attributes."""
        self.home = home
        self.base = base
        shutil.copytree(home / "conf", base / "conf")
        shutil.copytree(home / "webapps" / "ROOT", base / "webapps" / "ROOT")
        give_to(user, base / "logs", base / "temp", base / "work", base / "conf" / "Catalina" / "localhost")
        server = base / "conf" / "server.xml"
        text = server.read_text()
        assert text.count('<Connector port="8080"') == 1, "the distribution's server.xml has changed"
        server.write_text(text.replace('<Connector port="8080"', f'<Connector port="{port}" {connector}'))

    def log(self) -> str:
        """Return Tomcat's own log file of the day."""
        return "".join(path.read_text() for path in sorted((self.base / "logs").glob("catalina.*.log")))

    def java_arguments(self) -> list[str]:
        """Return what bin/catalina.sh gives to java for `catalina.sh run`."""
        opens = ("java.base/java.lang", "java.base/java.lang.reflect", "java.base/java.io", "java.base/java.util",
                 "java.base/java.util.concurrent", "java.rmi/sun.rmi.transport")  # fmt: skip
        return [
            f"-Djava.util.logging.config.file={self.base}/conf/logging.properties",
            "-Djava.util.logging.manager=org.apache.juli.ClassLoaderLogManager",
            "-Djdk.tls.ephemeralDHKeySize=2048",
            "-Djava.protocol.handler.pkgs=org.apache.catalina.webresources",
            "-Dorg.apache.catalina.security.SecurityListener.UMASK=0027",
            *(f"--add-opens={package}=ALL-UNNAMED" for package in opens),
            "--enable-native-access=ALL-UNNAMED",
            "-classpath",
            f"{self.home}/bin/bootstrap.jar:{self.home}/bin/tomcat-juli.jar",
            f"-Dcatalina.base={self.base}",
            f"-Dcatalina.home={self.home}",
            f"-Djava.io.tmpdir={self.base}/temp",
            "org.apache.catalina.startup.Bootstrap",
            "start",
        ]


class Jetty:
    """A jetty.base made by Jetty's own --add-modules."""

    def __init__(self, home: Path, base: Path, user: User, jdk: Jdk) -> None:
        """Lay it out below `base` with one page of its own."""
        self.home = home
        self.base = base
        base.mkdir()
        made = subprocess.run(
            [jdk.java, "-jar", str(home / "start.jar"), "--add-modules=http,core-deploy"],
            cwd=base, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert made.returncode == 0, made.stdout + made.stderr
        page = base / "webapps" / "ROOT" / "static" / "index.html"
        page.parent.mkdir(parents=True)
        page.write_text("a page of jetty\n")
        give_to(user, base / "work")

    def inherit_channel(self) -> None:
        """Add etc/inherit.xml, which makes the connector use System.inheritedChannel()."""
        folder = self.base / "etc"
        folder.mkdir()
        (folder / "inherit.xml").write_text(_INHERIT)

    def java_arguments(self, *more: str) -> list[str]:
        """Return Jetty's documented start command for port 80."""
        return [
            f"-Djetty.home={self.home}", f"-Djetty.base={self.base}", "-jar", f"{self.home}/start.jar",
            "jetty.http.port=80", *more,
        ]  # fmt: skip
