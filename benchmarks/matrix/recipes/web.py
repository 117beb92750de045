"""Web servers and containers, each started by its own main class or by a program of a few lines.

Imported by the package alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from exchanges import http_get
from recipe import Recipe, Site, sources

from support.jdks import compile_java
from support.servers import Jetty, Tomcat

if TYPE_CHECKING:
    from collections.abc import Callable


def tomcat(connector: str = "") -> Callable[[Site], list[str]]:
    """Lay out a CATALINA_BASE."""

    def prepare(site: Site) -> list[str]:
        return Tomcat(site.home(), site.base / "tomcat", site.user, connector=connector).java_arguments()

    return prepare


def jetty12(site: Site) -> list[str]:
    """Lay out a JETTY_BASE."""
    return Jetty(site.home(), site.base / "jetty", site.user, site.jdk).java_arguments()


def own(source: str, *arguments: str) -> Callable[[Site], list[str]]:
    """Run a program of this folder."""
    return lambda site: site.program(source, *arguments)


def netty(transport: str) -> Callable[[Site], list[str]]:
    """Run the tests' own small Netty server."""

    def prepare(site: Site) -> list[str]:
        classes = compile_java([sources("servers") / "NettyServer.java"], site.base / "classes", f"{site.jars()}/*")
        return ["-cp", f"{classes}:{site.jars()}/*", "servers.NettyServer", transport, "80"]

    return prepare


TOMCAT = http_get(body="<!DOCTYPE html>")
NIO2 = 'protocol="org.apache.coyote.http11.Http11Nio2Protocol"'


def netty_of(version: str) -> tuple[str, ...]:
    """Return the coordinates of Netty with its epoll transport."""
    return (f"io.netty:netty-codec-http:{version}", f"io.netty:netty-transport-native-epoll:{version}:linux-x86_64")


RECIPES = [
    Recipe("tomcat11", "Tomcat 11, NIO", tomcat(), TOMCAT, ("org.apache.tomcat:tomcat:11.0.24:zip",)),
    Recipe("jetty12", "Jetty 12.1", jetty12, http_get(body="a page of jetty"), ("org.eclipse.jetty:jetty-home:12.1.5:zip",)),
    Recipe("undertow", "Undertow", own("UndertowMain", "80"), http_get(body="undertow"),
           ("io.undertow:undertow-core:2.3.27.Final",)),
    Recipe("netty42-epoll", "Netty 4.2, epoll", netty("epoll"), http_get(body="netty /"), netty_of("4.2.18.Final")),
    Recipe("nanohttpd", "NanoHTTPD", own("NanoMain", "80"), http_get(body="nano"), ("org.nanohttpd:nanohttpd:2.3.1",)),
]  # fmt: skip
