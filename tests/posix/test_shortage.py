"""The hand-over while no descriptor is free: nothing is taken for closed, absent or done. Run in child processes."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import select
import socket
from typing import TYPE_CHECKING

import pytest

from jvmbind.handover.connections import connections, somebody_waits
from jvmbind.handover.sockets import kind_of
from jvmbind.posix.fds import open_fds
from jvmbind.posix.shortage import Reserve, gone_meanwhile, raise_own_limit
from support.stage import Stage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.root


@contextlib.contextmanager
def nothing_free() -> Iterator[None]:
    """Use up all descriptors meanwhile."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(open_fds()) + 2, hard))
    taken = []
    try:
        with contextlib.suppress(OSError):
            while True:
                taken.append(os.eventfd(0))
        yield
    finally:
        for fd in taken:
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def fails(work: Callable[[], object]) -> None:
    """Expect EMFILE."""
    with pytest.raises(OSError) as failure:
        work()
    assert failure.value.errno == errno.EMFILE, failure.value


def test_bind() -> None:
    """A bind of a declared address says EMFILE, not what the kernel would say to an address that is not declared."""
    stage = Stage("80")

    def application() -> None:
        with socket.socket(socket.AF_INET6) as sock:
            with nothing_free():
                fails(lambda: sock.bind(("::", 80)))
            sock.bind(("::", 80))
            assert stage.is_listener(sock.fileno())

    stage.play(application)


def test_drain_and_undrain() -> None:
    """Either says that it failed, leaves what the application watches as it was, and can be repeated when there is room."""
    stage = Stage("80 53/udp")

    def application() -> None:
        sock, datagrams, epoll = socket.socket(socket.AF_INET6), socket.socket(socket.AF_INET6, socket.SOCK_DGRAM), select.epoll()
        sock.bind(("::", 80))
        sock.listen(50)
        datagrams.bind(("::", 53))
        epoll.register(sock, select.EPOLLIN)
        with nothing_free():
            fails(lambda: stage.handover.drain(datagrams_only=False))
        assert stage.is_listener(sock.fileno())
        assert stage.is_listener(datagrams.fileno(), 1)
        stage.handover.drain(datagrams_only=False)
        assert not stage.is_listener(sock.fileno())
        assert not stage.is_listener(datagrams.fileno(), 1)
        with socket.create_connection(("127.0.0.1", 80), 10):
            assert epoll.poll(0.1) == []
            with nothing_free():
                fails(stage.handover.undrain)
            assert not stage.is_listener(sock.fileno())
            stage.handover.undrain()
            assert stage.is_listener(sock.fileno())
            assert stage.is_listener(datagrams.fileno(), 1)
            assert epoll.poll(10) == [(sock.fileno(), select.EPOLLIN)]

    stage.play(application)


def test_reserve() -> None:
    """What is kept in reserve lets an application that has used up all descriptors bind, be drained and be undrained."""
    stage = Stage("80 53/udp")
    stage.handover.reserve.fill()

    def application() -> None:
        with socket.socket(socket.AF_INET6) as sock, nothing_free():
            sock.bind(("::", 80))
            sock.listen(50)
            assert stage.is_listener(sock.fileno())
            stage.handover.reserve.use(lambda: stage.handover.drain(datagrams_only=False))
            assert not stage.is_listener(sock.fileno())
            stage.handover.reserve.use(stage.handover.undrain)
            assert stage.is_listener(sock.fileno())

    stage.play(application)
    assert stage.notes == []


def test_looks() -> None:
    """A look for which there is no descriptor fails: it does not say that there is no socket, no connection, nobody."""
    stage = Stage("80")
    with socket.create_connection(("127.0.0.1", 80), 10), socket.socket(fileno=stage.sockets[0].fileno()) as listener:
        fd, _ = listener._accept()  # type: ignore[attr-defined]
        memory = os.open("/proc/self/mem", os.O_RDONLY)
        assert [number for number, _ in connections(stage.specs, set())] == [fd]
        with nothing_free():
            for look in (
                lambda: list(connections(stage.specs, set())),
                lambda: kind_of(fd),
                lambda: somebody_waits([listener.fileno()], memory, os.getpid()),
            ):
                fails(look)
        listener.detach()


def test_no_free_descriptor_in_a_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """One descriptor that is free for the listing of /proc does not make a connection that cannot be looked at a closed one."""
    stage = Stage("80")
    with socket.create_connection(("127.0.0.1", 80), 10):
        fd = os.dup(stage.sockets[0]._accept()[0])  # type: ignore[attr-defined]
        names = os.listdir("/proc/self/fd")
        monkeypatch.setattr(os, "listdir", lambda _: names)
        with nothing_free():
            fails(lambda: [number for number, _ in connections(stage.specs, set())])
        os.close(fd)


def test_gone_meanwhile() -> None:
    """A closed descriptor is passed over; a shortage is not."""
    with gone_meanwhile:
        os.dup(10**6)
    for number in (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS):
        with pytest.raises(OSError, match=os.strerror(number)), gone_meanwhile:
            raise OSError(number, os.strerror(number))


def test_reserve_is_filled_again() -> None:
    """After each use as many descriptors are kept as before, and a failure that is not a shortage costs none."""
    reserve = Reserve(4)
    before = len(open_fds())
    reserve.fill()
    with nothing_free():
        os.close(reserve.use(lambda: os.dup(0)))
        assert len(open_fds()) >= before + 4
        fails(lambda: reserve.use(lambda: [os.dup(0) for _ in range(5)]))
    with pytest.raises(FileNotFoundError):
        reserve.use(lambda: os.open("/nowhere", os.O_RDONLY))


def test_own_limit() -> None:
    """The soft limit becomes the hard one."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 128))
    raise_own_limit()
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (128, 128)
