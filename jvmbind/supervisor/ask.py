"""Asks an HTTP address until it answers with the expected status: `ask.py URL STATUS` (0: any from 200 to 399).

Run by exec from the supervisor, as the service user, so that no HTTP or TLS code is loaded there. A certificate is not
checked: the question is whether the server on this machine answers, not who it is.
"""

from __future__ import annotations

import http.client
import ssl
import sys
import time
import urllib.parse

_PATIENCE = 5.0  # seconds for one answer
_PAUSE = 0.1  # seconds between two questions


def ask(url: str) -> int:
    """Return the status of the answer; raises OSError or http.client.HTTPException."""
    parts = urllib.parse.urlsplit(url)
    if parts.scheme == "https":
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        connection: http.client.HTTPConnection = http.client.HTTPSConnection(parts.netloc, timeout=_PATIENCE, context=context)
    else:
        connection = http.client.HTTPConnection(parts.netloc, timeout=_PATIENCE)
    try:
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request("GET", path, headers={"Connection": "close", "User-Agent": "jvmbind"})
        return connection.getresponse().status
    finally:
        connection.close()


def main() -> None:
    """Ask until the answer is right."""
    url, expected = sys.argv[1], int(sys.argv[2])
    while True:
        try:
            status = ask(url)
        except (OSError, http.client.HTTPException, ValueError, OverflowError):  # the last two: an address that is none
            status = 0
        if status == expected if expected else 200 <= status < 400:
            return
        time.sleep(_PAUSE)


if __name__ == "__main__":
    main()
