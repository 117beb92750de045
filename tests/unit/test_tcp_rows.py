"""The table of TCP sockets, as netlink and as /proc have it."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from jvmbind.posix import diag
from jvmbind.posix.listening import tcp_rows

if TYPE_CHECKING:
    from collections.abc import Iterator

KEPT = (1, 2, 3, 7, 9)  # addresses, state, user, inode


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_netlink_and_the_file_say_the_same(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    """Sockets that listen, wait in a queue or were accepted are the same rows; without netlink the file is read."""
    with contextlib.ExitStack() as stack:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = stack.enter_context(socket.create_server((host, 0), family=family))
        port = listener.getsockname()[1]
        for _ in range(2):
            stack.enter_context(socket.create_connection((host, port)))
        stack.enter_context(listener.accept()[0])
        lines = [line.split() for table in ("tcp", "tcp6") for line in Path(f"/proc/self/net/{table}").read_text().splitlines()]

        def rows(found: Any) -> list[list[str]]:
            return sorted([row[i] for i in KEPT] for row in found if f":{port:04X}" in {row[1][-5:], row[2][-5:]})

        expected = rows(lines)
        by_netlink = list(diag.tcp_rows(family))
        assert rows(tcp_rows()) == rows(by_netlink) == expected

        def refused(_family: int) -> Iterator[list[str]]:
            raise OSError(errno.EAFNOSUPPORT, os.strerror(errno.EAFNOSUPPORT))

        monkeypatch.setattr(diag, "tcp_rows", refused)
        assert rows(tcp_rows()) == expected

    assert len(expected) == 5
