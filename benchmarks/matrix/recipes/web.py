"""Web servers and frameworks, each started by its own main class or by a program of a few lines.

Imported by the package alone.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from exchanges import http_get, say
from recipe import Recipe, Site, sources

from support.jdks import compile_java
from support.servers import Jetty, Tomcat

if TYPE_CHECKING:
    from collections.abc import Callable


def tomcat() -> Callable[[Site], list[str]]:
    """Lay out a CATALINA_BASE."""
    return lambda site: Tomcat(site.home(), site.base / "tomcat", site.user).java_arguments()


def tomcat_nio2(site: Site) -> list[str]:
    """Set the connector's protocol in the distribution's own server.xml."""
    arguments = tomcat()(site)
    server = site.base / "tomcat/conf/server.xml"
    server.write_text(server.read_text().replace('protocol="HTTP/1.1"', f'protocol="{NIO2}"'))
    return arguments


def jetty12(site: Site) -> list[str]:
    """Lay out a JETTY_BASE."""
    return Jetty(site.home(), site.base / "jetty", site.user, site.jdk).java_arguments()


def jetty_old(site: Site) -> list[str]:
    """Lay out a JETTY_BASE of Jetty 9, 10 or 11."""
    home, base = site.home(), site.folder("jetty")
    site.cwd = base
    site.java(f"-Djetty.home={home}", f"-Djetty.base={base}", "-jar", f"{home}/start.jar", "--add-to-start=http,deploy",
              "--create-startd", "--approve-all-licenses")  # fmt: skip
    site.write("jetty/webapps/ROOT/index.html", "a page of jetty\n")
    return [f"-Djetty.home={home}", f"-Djetty.base={base}", "-jar", f"{home}/start.jar", "jetty.http.port=80"]


def own(source: str, *arguments: str, options: tuple[str, ...] = ()) -> Callable[[Site], list[str]]:
    """Run a program of this folder."""
    return lambda site: site.program(source, *(arguments or ("80",)), options=options)


def main(name: str, *arguments: str, options: tuple[str, ...] = ()) -> Callable[[Site], list[str]]:
    """Run a main class of the recipe's jars."""
    return lambda site: site.main(name, *arguments, options=options)


def jar(*arguments: str, options: tuple[str, ...] = ()) -> Callable[[Site], list[str]]:
    """Run an executable jar."""
    return lambda site: [*options, "-jar", str(site.jar()), *arguments]


def netty(transport: str) -> Callable[[Site], list[str]]:
    """Run the tests' own small Netty server."""

    def prepare(site: Site) -> list[str]:
        classes = compile_java([sources("servers") / "NettyServer.java"], site.base / "classes", f"{site.jars()}/*")
        return ["-cp", f"{classes}:{site.jars()}/*", "servers.NettyServer", transport, "80"]

    return prepare


def dropwizard(site: Site) -> list[str]:
    """Write its configuration: an application and an admin connector."""
    path = site.write(
        "app.yml", "server:\n  applicationConnectors: [{type: http, port: 80}]\n  adminConnectors: [{type: http, port: 81}]\n"
    )
    return site.program("DropwizardMain", "server", str(path))


NIO2 = "org.apache.coyote.http11.Http11Nio2Protocol"
TOMCAT = http_get(body="<!DOCTYPE html>")
NETTY = f"linux-{'aarch_64' if os.uname().machine == 'aarch64' else 'x86_64'}"
BOOT = ("org.springframework.boot:spring-boot-starter-json:3.4.1", "org.springframework:spring-webmvc:6.2.1")
HTTP2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
UPGRADE = (b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
           b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")  # fmt: skip


def netty_of(version: str) -> tuple[str, ...]:
    """Return the coordinates of Netty with its epoll transport."""
    return (f"io.netty:netty-codec-http:{version}", f"io.netty:netty-transport-native-epoll:{version}:{NETTY}")


RECIPES = [
    Recipe("tomcat9", "Tomcat 9, NIO", tomcat(), TOMCAT, ("org.apache.tomcat:tomcat:9.0.98:zip",)),
    Recipe("tomcat10", "Tomcat 10.1, NIO", tomcat(), TOMCAT, ("org.apache.tomcat:tomcat:10.1.59:zip",)),
    Recipe("tomcat11", "Tomcat 11, NIO", tomcat(), TOMCAT, ("org.apache.tomcat:tomcat:11.0.24:zip",)),
    Recipe("tomcat11-nio2", "Tomcat 11, NIO2", tomcat_nio2, TOMCAT, ("org.apache.tomcat:tomcat:11.0.24:zip",)),
    Recipe("jetty9", "Jetty 9.4", jetty_old, http_get(body="a page"), ("org.eclipse.jetty:jetty-home:9.4.57.v20241219:zip",)),
    Recipe("jetty10", "Jetty 10", jetty_old, http_get(body="a page"), ("org.eclipse.jetty:jetty-home:10.0.24:zip",)),
    Recipe("jetty12", "Jetty 12.1", jetty12, http_get(body="a page"), ("org.eclipse.jetty:jetty-home:12.1.5:zip",)),
    Recipe("undertow", "Undertow", own("UndertowMain"), http_get(body="undertow"), ("io.undertow:undertow-core:2.3.27.Final",)),
    Recipe("netty41-nio", "Netty 4.1, NIO", netty("nio"), http_get(body="netty /"), netty_of("4.1.137.Final")),
    Recipe("netty41-epoll", "Netty 4.1, epoll", netty("epoll"), http_get(body="netty /"), netty_of("4.1.137.Final")),
    Recipe("netty42-nio", "Netty 4.2, NIO", netty("nio"), http_get(body="netty /"), netty_of("4.2.18.Final")),
    Recipe("netty42-epoll", "Netty 4.2, epoll", netty("epoll"), http_get(body="netty /"), netty_of("4.2.18.Final")),
    Recipe(
        "netty42-uring",
        "Netty 4.2, io_uring",
        own("UringMain"),
        http_get(body="uring"),
        ("io.netty:netty-codec-http:4.2.18.Final", f"io.netty:netty-transport-native-io_uring:4.2.18.Final:{NETTY}"),
    ),
    Recipe("vertx4", "Vert.x 4", own("VertxMain"), http_get(body="vertx"), ("io.vertx:vertx-core:4.5.11",)),
    Recipe("vertx5", "Vert.x 5", own("VertxMain"), http_get(body="vertx"), ("io.vertx:vertx-core:5.0.0",)),
    Recipe(
        "boot-tomcat",
        "Spring Boot 3, Tomcat",
        own("BootMvc"),
        http_get(body="boot"),
        ("org.springframework.boot:spring-boot-starter-web:3.4.1",),
    ),
    Recipe(
        "boot-jetty",
        "Spring Boot 3, Jetty",
        own("BootMvc"),
        http_get(body="boot"),
        ("org.springframework.boot:spring-boot-starter-jetty:3.4.1", *BOOT),
    ),
    Recipe(
        "boot-undertow",
        "Spring Boot 3, Undertow",
        own("BootMvc"),
        http_get(body="boot"),
        ("org.springframework.boot:spring-boot-starter-undertow:3.4.1", *BOOT),
    ),
    Recipe(
        "boot-webflux",
        "Spring Boot 3, WebFlux",
        own("BootMvc"),
        http_get(body="boot"),
        ("org.springframework.boot:spring-boot-starter-webflux:3.4.1",),
    ),
    Recipe(
        "helidon4",
        "Helidon 4",
        own("HelidonMain"),
        http_get(body="helidon"),
        ("io.helidon.webserver:helidon-webserver:4.1.6",),
        oldest=21,
    ),
    Recipe(
        "helidon3", "Helidon 3", own("Helidon3Main"), http_get(body="helidon"), ("io.helidon.webserver:helidon-webserver:3.2.11",)
    ),
    Recipe(
        "micronaut",
        "Micronaut 4",
        own("MicronautMain"),
        http_get(body="micronaut"),
        (
            "io.micronaut:micronaut-http-server-netty:4.7.10",
            "io.micronaut:micronaut-inject-java:4.7.10",
            "io.micronaut:micronaut-jackson-databind:4.7.10",
        ),
    ),
    Recipe("javalin", "Javalin 6", own("JavalinMain"), http_get(body="javalin"), ("io.javalin:javalin:6.4.0",)),
    Recipe("spark", "Spark", own("SparkMain"), http_get(body="spark"), ("com.sparkjava:spark-core:2.9.4",)),
    Recipe(
        "grizzly", "Grizzly 4", own("GrizzlyMain"), http_get(body="grizzly"), ("org.glassfish.grizzly:grizzly-http-server:4.0.2",)
    ),
    Recipe(
        "jersey",
        "Jersey 3 on the JDK's HttpServer",
        own("JerseyMain"),
        http_get(body="jersey"),
        ("org.glassfish.jersey.containers:jersey-container-jdk-http:3.1.10", "org.glassfish.jersey.inject:jersey-hk2:3.1.10"),
    ),
    Recipe("armeria", "Armeria", own("ArmeriaMain"), http_get(body="armeria"), ("com.linecorp.armeria:armeria:1.31.3",)),
    Recipe(
        "grpc",
        "gRPC-Java",
        own("GrpcMain"),
        say(HTTP2, b"\0\0", b""),
        ("io.grpc:grpc-netty-shaded:1.69.0", "io.grpc:grpc-services:1.69.0"),
    ),
    Recipe(
        "dropwizard",
        "Dropwizard 4",
        dropwizard,
        http_get(body="dropwizard"),
        ("io.dropwizard:dropwizard-core:4.0.12",),
        listen=("80", "81"),
    ),
    Recipe("ratpack", "Ratpack", own("RatpackMain"), http_get(body="ratpack"), ("io.ratpack:ratpack-core:1.9.0",)),
    Recipe("simple", "Simple", own("SimpleMain"), http_get(body="simple"), ("org.simpleframework:simple-http:6.0.1",)),
    Recipe("nanohttpd", "NanoHTTPD", own("NanoMain"), http_get(body="nano"), ("org.nanohttpd:nanohttpd:2.3.1",)),
    Recipe(
        "reactor",
        "Reactor Netty",
        own("ReactorMain"),
        http_get(body="reactor"),
        ("io.projectreactor.netty:reactor-netty-http:1.2.2",),
    ),
    Recipe(
        "ktor-netty",
        "Ktor, Netty",
        main("io.ktor.server.netty.EngineMain", "-port=80"),
        http_get(status=404),
        ("io.ktor:ktor-server-netty-jvm:2.3.12",),
    ),
    Recipe(
        "ktor-cio",
        "Ktor, CIO",
        main("io.ktor.server.cio.EngineMain", "-port=80"),
        http_get(status=404),
        ("io.ktor:ktor-server-cio-jvm:2.3.12",),
    ),
    Recipe(
        "httpcore",
        "Apache HttpCore 5",
        own("HttpCoreMain"),
        http_get(body="httpcore"),
        ("org.apache.httpcomponents.core5:httpcore5:5.3.1",),
    ),
    Recipe("jooby", "Jooby 3", own("JoobyMain"), http_get(body="jooby"), ("io.jooby:jooby-netty:3.5.5",)),
    Recipe("microhttp", "Microhttp", own("MicrohttpMain"), http_get(body="microhttp"), ("org.microhttp:microhttp:0.10",)),
    Recipe("mu", "mu-server", own("MuMain"), http_get(body="mu"), ("io.muserver:mu-server:2.1.9",)),
    Recipe(
        "pekko",
        "Pekko HTTP",
        own("PekkoMain"),
        http_get(body="pekko"),
        ("org.apache.pekko:pekko-http_2.13:1.1.0", "org.apache.pekko:pekko-stream_2.13:1.1.2"),
    ),
    Recipe("rapidoid", "Rapidoid", own("RapidoidMain"), http_get(body="rapidoid"), ("org.rapidoid:rapidoid-http-server:5.5.5",)),
    Recipe(
        "websocket",
        "Java-WebSocket",
        own("WebSocketMain"),
        say(UPGRADE, b"HTTP/1.1 101", b"\r\n\r\n"),
        ("org.java-websocket:Java-WebSocket:1.6.0",),
    ),
    Recipe("zipkin", "Zipkin 3", jar("--server.port=80"), http_get("/health", "UP"), ("io.zipkin:zipkin-server:3.4.3:jar:exec",)),
    Recipe(
        "wiremock",
        "WireMock 3",
        jar("--port", "80"),
        http_get("/__admin/mappings", "mappings"),
        ("org.wiremock:wiremock-standalone:3.10.0:jar",),
    ),
    Recipe(
        "mockserver",
        "MockServer",
        jar("-serverPort", "80"),
        http_get("/a", status=404),
        ("org.mock-server:mockserver-netty:5.15.0:jar:shaded",),
    ),
    Recipe(
        "payara-micro",
        "Payara Micro 6",
        jar("--port", "80", "--noCluster"),
        http_get(status=404),
        ("fish.payara.extras:payara-micro:6.2024.12:jar",),
    ),
    Recipe(
        "hawtio",
        "Hawtio",
        jar("--port", "80", "--open-url", "false"),
        http_get("/hawtio/", "hawtio"),
        ("io.hawt:hawtio-app:2.17.7:jar",),
    ),
]
