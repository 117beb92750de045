"""A Python program with a Java web server in its own process: binds a low port, drops, answers in Python.

    sudo python -I serve.py [--listen 443] [--user www-data]

Run as root (or with a port of 1024 or above, as anybody). Java's HttpServer binds the port as it would anywhere; it is
handed the listener that was bound before the drop. Each request is answered by a Python function, through JPype.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from typing import TYPE_CHECKING

import jvmbind

if TYPE_CHECKING:
    from collections.abc import Callable


def page(path: str) -> str:
    """Return the answer to a request: this is Python, in the process of the Java server."""
    return f"{path} answered by Python {sys.version_info.major}.{sys.version_info.minor}, uid {os.getuid()}\n"


def serve(port: int) -> Callable[[int], None]:
    """Start the JDK's HttpServer with a handler written in Python; return what stops it, within so many seconds."""
    import jpype  # noqa: PLC0415 - once the JVM is there

    @jpype.JImplements("com.sun.net.httpserver.HttpHandler")
    class Handler:
        @jpype.JOverride  # type: ignore[untyped-decorator]
        def handle(self, exchange: object) -> None:
            body = page(str(exchange.getRequestURI())).encode()  # type: ignore[attr-defined]
            exchange.sendResponseHeaders(200, len(body))  # type: ignore[attr-defined]
            exchange.getResponseBody().write(body)  # type: ignore[attr-defined]
            exchange.close()  # type: ignore[attr-defined]

    address = jpype.JClass("java.net.InetSocketAddress")(port)
    server = jpype.JClass("com.sun.net.httpserver.HttpServer").create(address, 0)
    server.setExecutor(jpype.JClass("java.util.concurrent.Executors").newFixedThreadPool(4))
    server.createContext("/", Handler())
    server.start()
    print(f"serving on port {port} as uid {os.getuid()}", flush=True)
    return server.stop  # type: ignore[no-any-return]


def main() -> None:
    """Bind, drop, start the JVM, serve until a signal comes."""
    parser = argparse.ArgumentParser(description="A Java web server that answers in Python.")
    parser.add_argument("--listen", default="443", help="the listener, as for `jvmbind run`; default %(default)s")
    parser.add_argument("--user", default="www-data" if os.geteuid() == 0 else None, help="who to run as")
    parser.add_argument("--java-home", help="the Java runtime")
    options = parser.parse_args()

    listeners = jvmbind.bind_listeners([options.listen])
    jvmbind.drop_permanently(options.user)
    jvmbind.start_jvm(listeners, options=["-Xmx128m"], java_home=options.java_home)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    stop = serve(listeners[0].spec.app_port)
    try:
        signal.pause()  # Ctrl-C is KeyboardInterrupt, SIGTERM the handler above
    except KeyboardInterrupt:
        sys.exit(130)
    finally:
        stop(1)
        print("stopped", flush=True)


if __name__ == "__main__":
    main()
