"""Asks an HTTP address until it answers: `ask.py URL STATUS [HOST PORT]`, with STATUS, or with any from 200 to 399 for 0.

With HOST and PORT the request goes to that numeric address, which may be that of an idle socket (ip(7), IP_MINTTL).

Run by exec from the supervisor, as the service user, so that no HTTP or TLS code is loaded there. A certificate is not
checked: the question is whether the server on this machine answers, not who it is.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import sys
import time
import urllib.parse

_PATIENCE = 5.0  # seconds for one answer
_PAUSE = 0.1  # seconds between two questions


def connect(host: str, port: int) -> socket.socket:
    """Return a connection to a numeric address, whose packets have the highest hop limit; raises OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.settimeout(_PATIENCE)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, 255)
        else:
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 255)
        sock.connect((host, port))
    except OSError:
        sock.close()
        raise
    return sock


def ask(url: str, instead: tuple[str, int] | None) -> int:
    """Return the status of the answer; raises OSError or http.client.HTTPException."""
    parts = urllib.parse.urlsplit(url)
    sock = connect(*instead) if instead else None
    if parts.scheme == "https":
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        connection: http.client.HTTPConnection = http.client.HTTPSConnection(parts.netloc, timeout=_PATIENCE, context=context)
        sock = context.wrap_socket(sock, server_hostname=parts.hostname) if sock else None
    else:
        connection = http.client.HTTPConnection(parts.netloc, timeout=_PATIENCE)
    connection.sock = sock
    try:
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request("GET", path, headers={"Connection": "close", "User-Agent": "jvmbind"})
        return connection.getresponse().status
    finally:
        connection.close()


def main() -> None:
    """Ask until the answer is right."""
    url, expected = sys.argv[1], int(sys.argv[2])
    instead = (sys.argv[3], int(sys.argv[4])) if len(sys.argv) > 4 else None
    while True:
        try:
            status = ask(url, instead)
        except (OSError, http.client.HTTPException, ValueError, OverflowError):  # the last two: an address that is none
            status = 0
        if status == expected if expected else 200 <= status < 400:
            return
        time.sleep(_PAUSE)


if __name__ == "__main__":
    main()
