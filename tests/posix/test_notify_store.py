"""The service manager's store while this user has too many descriptors on their way. Run in a child process."""

from __future__ import annotations

import os
import resource
import socket
from typing import TYPE_CHECKING

import pytest

from jvmbind.posix.notify import Notifier
from jvmbind.spec import parse_listen

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.root


def test_words_do_not_wait_for_the_store(workspace: Path) -> None:
    """ETOOMANYREFS keeps the listeners out of the store for as long as it lasts, and not the service from being ready."""
    address = str(workspace / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(address)
        os.chmod(address, 0o777)
        manager.setblocking(False)
        os.setresuid(65534, 65534, 65534)  # without a capability, which would lift the limit
        sender, receiver = socket.socketpair()
        resource.setrlimit(resource.RLIMIT_NOFILE, (60, 60))
        socket.send_fds(sender, [b"x"], [0] * 100)
        listener = socket.socket()
        notifier = Notifier({"NOTIFY_SOCKET": address})

        notifier.store_listeners([(parse_listen("web=80"), listener.fileno())])
        notifier.ready("served")

        assert manager.recv(1000) == b"READY=1\nSTATUS=served"
        socket.recv_fds(receiver, 1, 0)
        listener.close()
        notifier._socket.flush()
        _, (stored, *_), _, _ = socket.recv_fds(manager, 1000, 1)
        assert os.fstat(stored).st_ino
