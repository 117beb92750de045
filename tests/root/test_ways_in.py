"""The three ways to a low port: root, the one capability, inherited sockets; and the mix of them.

Run by pytest as root, which gives away what each test must not have. Must not import jvmbind.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from support import procfs
from support.clients import http_get, http_get_unix, udp_ask
from support.jdks import Jdk
from support.network import Network
from support.runner import Runner
from support.service import Service
from support.users import SERVICE_USER, user

pytestmark = [pytest.mark.root, pytest.mark.jvm]

CALLER = user(SERVICE_USER)
ORDINARY = ["setpriv", f"--reuid={CALLER.uid}", f"--regid={CALLER.gid}", "--init-groups"]
ONE_CAPABILITY = [
    *ORDINARY, "--bounding-set=-all,+net_bind_service", "--inh-caps=-all,+net_bind_service",
    "--ambient-caps=-all,+net_bind_service",
]  # fmt: skip

# Does what systemd does for a socket-activated service: announces sockets from fd 3 on to the very process.
GIVER = """
import os, sys
names, fds, command = sys.argv[1], [int(fd) for fd in sys.argv[2].split(",")], sys.argv[3:]
spare = [os.dup2(fd, 100 + i) for i, fd in enumerate(fds)]
for i, fd in enumerate(spare):
    os.dup2(fd, 3 + i, inheritable=True)
    os.close(fd)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(fds)), LISTEN_FDNAMES=names)
os.execvp(command[0], command)
"""

LIAR = """
import os, sys
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="-1")
os.execvp(sys.argv[1], sys.argv[1:])
"""


def assert_ordinary(service: Service) -> None:
    """Assert that no thread of the service has any right; the bounding set cannot be emptied without CAP_SETPCAP."""
    for pid in service.processes():
        for thread in procfs.thread_credentials(pid):
            inheritable, permitted, effective, _, ambient = thread.capabilities
            assert (inheritable, permitted, effective, ambient) == (0, 0, 0, 0), thread
            assert thread.uids == (CALLER.uid,) * 4, thread
            assert thread.no_new_privs == 1, thread


@pytest.mark.parametrize("way", [["--direct"], []], ids=["direct", "supervised"])
def test_only_the_capability(runner: Runner, network: Network, jdk: Jdk, way: list[str]) -> None:
    """Started by an ordinary user with nothing but CAP_NET_BIND_SERVICE: served on 80, the capability gone everywhere."""
    service = runner.probe([*way, "-l", "80"], jdk, "ChannelServer", "*", "80", prefix=ONE_CAPABILITY)

    service.expect(r"^READY$")
    assert http_get(network, 80).status == 200
    assert_ordinary(service)
    assert service.stop() == 143
    service.assert_nothing_left()


def test_only_the_capability_and_the_callers_own_name(runner: Runner, network: Network, jdk: Jdk) -> None:
    """With the capability alone --user is accepted if it is the caller."""
    service = runner.probe(["-l", "80", "-u", SERVICE_USER], jdk, "ChannelServer", "*", "80", prefix=ONE_CAPABILITY)

    service.expect(r"^READY$")
    assert http_get(network, 80).status == 200
    assert_ordinary(service)
    assert service.stop() == 143


def test_only_the_capability_cannot_become_another_user(runner: Runner, jdk: Jdk) -> None:
    """With the capability alone any other --user is refused with status 77 before anything is bound."""
    service = runner.probe(["-l", "80", "-u", "nobody"], jdk, "ChannelServer", "*", "80", prefix=ONE_CAPABILITY)

    assert service.wait() == 77, service.report()
    assert len(service.stderr.splitlines()) == 1
    assert "nobody" in service.stderr
    service.assert_nothing_left()


class Sockets:
    """Listening sockets made by a parent, in the test's namespace."""

    def __init__(self, network: Network, stack: ExitStack) -> None:
        """Close them when the stack ends."""
        self._network = network
        self._stack = stack

    def tcp(self, host: str, port: int) -> socket.socket:
        """A listening TCP socket; "::" is dual stack."""
        made = self._new(socket.SOCK_STREAM, host, port)
        made.listen(64)
        return made

    def udp(self, host: str, port: int) -> socket.socket:
        """A bound UDP socket."""
        return self._new(socket.SOCK_DGRAM, host, port)

    def unix(self, path: Path) -> socket.socket:
        """A listening Unix-domain socket."""
        made = self._stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        made.bind(str(path))
        path.chmod(0o666)
        made.listen(64)
        return made

    def close(self) -> None:
        """Close all of them now."""
        self._stack.close()

    def _new(self, kind: int, host: str, port: int) -> socket.socket:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        made = self._stack.enter_context(self._network.open_socket(family, kind))
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        made.bind((host, port))
        return made


@pytest.fixture
def sockets(network: Network) -> Iterator[Sockets]:
    """Make sockets as a parent of jvmbind has them."""
    with ExitStack() as stack:
        yield Sockets(network, stack)


def give(prefix: list[str], names: str, *given: socket.socket) -> tuple[list[str], list[int]]:
    """Return the command prefix and the descriptors that hand over sockets as systemd does."""
    fds = [made.fileno() for made in given]
    return [*prefix, sys.executable, "-I", "-c", GIVER, names, ",".join(map(str, fds))], fds


@pytest.mark.parametrize("way", [["--direct"], []], ids=["direct", "supervised"])
def test_inherited_sockets_need_no_privilege(runner: Runner, network: Network, jdk: Jdk, sockets: Sockets, way: list[str]) -> None:
    """An ordinary user with sockets from LISTEN_FDS serves on 80, 53/udp and a Unix path without any privilege."""
    path = runner.workspace / "given.sock"
    prefix, fds = give(ORDINARY, "web:dns:local", sockets.tcp("::", 80), sockets.udp("::", 53), sockets.unix(path))
    options = [*way, "-l", "web=80", "-l", "dns=53/udp", "-l", f"local=unix:{path}"]
    service = runner.probe(options, jdk, "AllKinds", "80", "53", str(path), prefix=prefix, pass_fds=fds)

    service.expect(r"^READY$")
    assert http_get(network, 80).body == "tcp"
    assert http_get(network, 80, host="::1").body == "tcp"
    assert udp_ask(network, "127.0.0.1", 53, b"x") == b"x"
    assert http_get_unix(path).body == "unix"
    assert_ordinary(service)
    assert service.stop() == 143


def test_inherited_sockets_are_matched_by_what_they_are(runner: Runner, network: Network, jdk: Jdk, sockets: Sockets) -> None:
    """Names that do not match and another order do not matter: each socket is recognised by its address and type."""
    prefix, fds = give(ORDINARY, "unknown:unknown:unknown", sockets.udp("::", 53), sockets.tcp("::", 81), sockets.tcp("::", 80))
    options = ["-l", "web=80", "-l", "admin=81", "-l", "dns=53/udp"]
    service = runner.probe(
        options, jdk, "TryBind", "tcp", "*", "80", "tcp", "*", "81", "udp", "*", "53", prefix=prefix, pass_fds=fds
    )

    service.expect(r"^READY$")
    assert service.stdout.count(" ok ") == 3, service.stdout
    assert network.bound_ports() == ["tcp6 [::]:80", "tcp6 [::]:81", "udp6 [::]:53"]
    assert service.stop() == 143


def test_inherited_sockets_need_not_be_declared(runner: Runner, network: Network, jdk: Jdk, sockets: Sockets) -> None:
    """An inherited socket without any --listen is handed over to the program that binds its address."""
    prefix, fds = give(ORDINARY, "web", sockets.tcp("::", 80))
    service = runner.probe([], jdk, "ChannelServer", "*", "80", prefix=prefix, pass_fds=fds)

    service.expect(r"^READY$")
    assert http_get(network, 80).status == 200
    assert service.stop() == 143


@pytest.mark.parametrize("stack", ["IPv6", "IPv4"])
def test_inherited_ipv4_sockets(runner: Runner, network: Network, jdk: Jdk, sockets: Sockets, stack: str) -> None:
    """Inherited IPv4 sockets: TCP serves any JVM; UDP serves a JVM told to use IPv4, any other is warned at the start.

    A JVM with IPv6 sends with IPv6 addresses only, which sendto(2) refuses on an IPv4 socket.
    """
    prefix, fds = give(ORDINARY, "web:dns", sockets.tcp("127.0.0.1", 80), sockets.udp("127.0.0.1", 53))
    options = ["-l", "web=127.0.0.1:80", "-l", "dns=127.0.0.1:53/udp"]
    jvm = ["-Djava.net.preferIPv4Stack=true"] if stack == "IPv4" else []
    service = runner.probe(options, jdk, "AllKinds", "80", "53", "", "127.0.0.1", jvm=jvm, prefix=prefix, pass_fds=fds)

    service.expect(r"^READY$")
    assert http_get(network, 80).body == "tcp"
    if stack == "IPv4":
        assert udp_ask(network, "127.0.0.1", 53, b"x") == b"x"
    else:
        service.expect(r"dns.*IPv4.*preferIPv4Stack", stream="stderr")
    assert service.stop() == 143


def test_mixed_inherited_and_bound(runner: Runner, network: Network, jdk: Jdk, sockets: Sockets) -> None:
    """Root binds what was not inherited: one listener from each source, both served after the drop."""
    prefix, fds = give([], "web", sockets.tcp("::", 80))
    options = ["-l", "web=80", "-l", "admin=81", "-u", SERVICE_USER]
    service = runner.probe(options, jdk, "ChannelServer", "*", "80", "*", "81", prefix=prefix, pass_fds=fds)

    service.expect(r"^READY$")
    assert http_get(network, 80).status == 200
    assert http_get(network, 81).status == 200
    for pid in service.processes():
        procfs.assert_dropped(pid, uid=CALLER.uid, gid=CALLER.gid, groups=CALLER.groups)
    assert service.stop() == 143


@pytest.mark.parametrize("kind", ["tcp", "udp"])
def test_inetd_wait_style(runner: Runner, network: Network, jdk: Jdk, sockets: Sockets, kind: str) -> None:
    """A socket on fd 0, as inetd gives it with `wait`, is handed over; stdin is then empty."""
    given = sockets.tcp("::", 80) if kind == "tcp" else sockets.udp("::", 80)
    service = runner.probe([], jdk, "TryBind", kind, "*", "80", prefix=ORDINARY, stdin=given.fileno())

    service.expect(r"^READY$")
    assert f"BIND {kind} * 80 ok" in service.stdout
    assert f"{kind}6 [::]:80" in network.bound()
    assert procfs.descriptors(service.worker())[0] == "/dev/null"
    assert service.stop() == 143


def test_inetd_socket_and_inherited_channel(runner: Runner, network: Network, jdk: Jdk, sockets: Sockets) -> None:
    """System.inheritedChannel() of a program that inetd starts serves its clients."""
    given = sockets.tcp("::", 80)
    service = runner.probe(["--direct"], jdk, "Inherited", "2", prefix=ORDINARY, stdin=given.fileno())

    service.expect(r"^CHANNEL server")
    assert http_get(network, 80).body == "inherited"
    assert http_get(network, 80).body == "inherited"
    service.expect(r"^AFTER-CLOSE stdout$")
    assert service.wait() == 0, service.report()


@pytest.mark.parametrize("case", ["name of another", "no socket", "connected", "too few names", "negative count"])
def test_bad_inheritance(runner: Runner, network: Network, jdk: Jdk, sockets: Sockets, case: str) -> None:
    """An inherited descriptor that is not what was declared is refused with one line and status 78."""
    options = ["-l", "web=80"]
    environment = dict(os.environ)
    with ExitStack() as stack:
        if case == "name of another":
            prefix, fds = give(ORDINARY, "web", sockets.tcp("::", 8080))
        elif case == "no socket":
            file = stack.enter_context(open(os.devnull))
            prefix, fds = [*ORDINARY, sys.executable, "-I", "-c", GIVER, "web", str(file.fileno())], [file.fileno()]
        elif case == "connected":
            listening = sockets.tcp("::", 80)
            stack.enter_context(network.connect("127.0.0.1", 80))
            served = stack.enter_context(listening.accept()[0])
            prefix, fds = give(ORDINARY, "web", served)
        elif case == "too few names":
            prefix, fds = give(ORDINARY, "web", sockets.tcp("::", 80), sockets.tcp("::", 81))
        else:
            prefix, fds = [*ORDINARY, sys.executable, "-I", "-c", LIAR], []
        service = runner.probe(options, jdk, "ChannelServer", "*", "80", prefix=prefix, pass_fds=fds, environment=environment)
        assert service.wait() == 78, service.report()
        sockets.close()
    assert len(service.stderr.splitlines()) == 1, service.stderr
    service.assert_nothing_left()


def test_stale_listen_variables_are_ignored(runner: Runner, network: Network, jdk: Jdk) -> None:
    """LISTEN_FDS meant for another process (LISTEN_PID) is not believed."""
    environment = {**os.environ, "LISTEN_PID": "1", "LISTEN_FDS": "2", "LISTEN_FDNAMES": "a:b"}
    service = runner.probe(["-l", "80", "-u", SERVICE_USER], jdk, "ChannelServer", "*", "80", environment=environment)

    service.expect(r"^READY$")
    assert http_get(network, 80).status == 200
    assert service.stop() == 143
