"""Opening listeners of every kind for real, all or none of them, and saying who is in the way. Run in child processes."""

from __future__ import annotations

import errno
import os
import socket
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from jvmbind.errors import JvmbindError, NotPermittedError, PortUnavailableError, SystemFailureError
from jvmbind.listen import number_names
from jvmbind.posix.binding import bind_listeners
from jvmbind.posix.fds import clear_standard_fds, open_fds
from jvmbind.posix.holder import holder_of
from jvmbind.posix.inherited import identify, inetd_fd
from jvmbind.root.holder import open_holder
from jvmbind.root.listeners import Listener, jvm_uses_ipv6
from jvmbind.spec import UserSpec, parse_listen
from support.stage import queue_limit
from support.users import OTHER_USER, User, user

pytestmark = pytest.mark.root


def bind(texts: str, who: UserSpec | None = None) -> list[Listener]:
    """Bind listeners, separated by blanks."""
    return bind_listeners(number_names([parse_listen(text) for text in texts.split()]), (), who)


def as_spec(who: User) -> UserSpec:
    """Return a user as the product has it."""
    return UserSpec(who.uid, who.gid, who.groups, who.name, who.home, "/bin/sh")


@pytest.mark.parametrize(
    ("text", "address", "clients", "strangers"),
    [
        ("80", ("::", 80), ["127.0.0.1", "::1"], []),
        ("0.0.0.0:80", ("::ffff:0.0.0.0", 80), ["127.0.0.1"], ["::1"]),
        ("[::]:80", ("::", 80), ["127.0.0.1", "::1"], []),
        ("[::]:80,v6only", ("::", 80), ["::1"], ["127.0.0.1"]),
        ("80,v6only", ("::", 80), ["::1"], ["127.0.0.1"]),
        ("127.0.0.1:80", ("::ffff:127.0.0.1", 80), ["127.0.0.1"], ["::1", "127.0.0.2"]),
        ("[::ffff:127.0.0.1]:80", ("::ffff:127.0.0.1", 80), ["127.0.0.1"], ["::1"]),
        ("[::1]:80", ("::1", 80), ["::1"], ["127.0.0.1"]),
        ("80:8080", ("::", 80), ["127.0.0.1"], []),
        ("80,device=lo", ("::", 80), ["127.0.0.1", "::1"], []),
    ],
)
def test_tcp(text: str, address: tuple[str, int], clients: list[str], strangers: list[str]) -> None:
    """A TCP listener is non-blocking, close-on-exec, listening, of the family that a JVM uses, and reached by whom it should."""
    ((_, sock),) = bind(text)

    assert sock.getsockname()[:2] == address
    assert sock.family == socket.AF_INET6
    assert not os.get_blocking(sock.fileno())
    assert not os.get_inheritable(sock.fileno())
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 1
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR) == 1
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT) == 0
    for client in clients:
        socket.create_connection((client, 80), 10).close()
    for stranger in strangers:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((stranger, 80), 10)


@pytest.mark.parametrize(("text", "client"), [("53/udp", "127.0.0.1"), ("127.0.0.1:53/udp", "127.0.0.1"), ("[::1]:53/udp", "::1")])
def test_udp(text: str, client: str) -> None:
    """A UDP listener receives, and can answer as a JVM with IPv6 does: with IPv6 addresses."""
    ((spec, sock),) = bind(text)

    assert spec.protocol == "udp"
    assert not os.get_blocking(sock.fileno())
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR) == 0
    with socket.socket(socket.AF_INET6 if ":" in client else socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.settimeout(10)
        peer.connect((client, 53))
        peer.send(b"q")
        data, sender = sock.recvfrom(10)
        sock.sendto(b"a", sender)
        assert (data, peer.recv(10)) == (b"q", b"a")


def test_options() -> None:
    """Each option of the grammar is set on the socket."""
    listeners = bind(
        "a=80,backlog=7 b=81,reuseport c=192.0.2.77:82,freebind d=[2001:db8::77]:83,freebind e=84,device=lo f=85,bind-only "
        "g=86,rcvbuf=40000 h=87,defer-accept=3 i=88,fastopen=9 j=89/udp,rcvbuf=50000,reuseport"
    )
    sockets = {spec.name: sock for spec, sock in listeners}

    assert list(sockets) == list("abcdefghij")
    assert queue_limit(sockets["a"]) == 7
    assert sockets["b"].getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT) == 1
    assert sockets["c"].getsockname()[:2] == ("::ffff:192.0.2.77", 82)
    assert sockets["d"].getsockname()[:2] == ("2001:db8::77", 83)
    assert sockets["e"].getsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, 16).rstrip(b"\0") == b"lo"
    assert sockets["f"].getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 0
    assert sockets["f"].getsockname()[1] == 85
    assert sockets["g"].getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) == 80000  # the kernel doubles it: socket(7)
    assert sockets["h"].getsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT) >= 3
    assert sockets["i"].getsockopt(socket.IPPROTO_TCP, socket.TCP_FASTOPEN) == 9
    assert sockets["j"].getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) == 100000
    assert sockets["j"].getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT) == 1


def test_two_with_reuseport() -> None:
    """Two listeners of one address live side by side with reuseport."""
    assert len(bind("80,reuseport 80,reuseport 53/udp,reuseport 53/udp,reuseport")) == 4


def test_two_families() -> None:
    """One port has a listener for each family, where the IPv6 one is v6only."""
    assert len(bind("0.0.0.0:80 [::]:80,v6only")) == 2


def test_without_ipv6() -> None:
    """Where no interface has an IPv6 address, as the JVM looks for one, IPv4 sockets are opened."""
    Path("/proc/sys/net/ipv6/conf/all/disable_ipv6").write_text("1")
    assert not jvm_uses_ipv6()

    (_, any_address), (_, one) = bind("80 127.0.0.1:81")

    assert (any_address.family, any_address.getsockname()) == (socket.AF_INET, ("0.0.0.0", 80))
    assert (one.family, one.getsockname()) == (socket.AF_INET, ("127.0.0.1", 81))


def test_privileged_ports_of_a_former_connection() -> None:
    """Connections in TIME_WAIT do not keep a listener from being opened."""
    ((_, sock),) = bind("80")
    client = socket.create_connection(("127.0.0.1", 80), 10)
    connection = socket.socket(fileno=sock._accept()[0])  # type: ignore[attr-defined]
    connection.close()
    assert client.recv(1) == b""
    client.close()
    sock.close()

    assert bind("80")


@pytest.mark.parametrize("mode", ["0600", "0660", "0666", "0000"])
@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_unix_mode(workspace: Path, mode: str, umask: int) -> None:
    """A Unix socket has the declared mode whatever the umask is, and that is left as it was."""
    os.umask(umask)

    bind(f"unix:{workspace}/a.sock,mode={mode}")

    assert stat.S_IMODE((workspace / "a.sock").stat().st_mode) == int(mode, 8)
    assert os.umask(0) == umask


def test_unix_owner(workspace: Path, service_user: User) -> None:
    """In a directory of root's alone root makes the socket and gives it to the service user."""
    bind(f"unix:{workspace}/a.sock", as_spec(service_user))

    info = (workspace / "a.sock").stat()
    assert (info.st_uid, info.st_gid) == (service_user.uid, service_user.gid)
    assert os.geteuid() == 0


def test_unix_in_a_directory_of_the_user(workspace: Path, service_user: User) -> None:
    """In a directory that the service user may write the socket is made with that user's rights, and root is back after."""
    os.chown(workspace, service_user.uid, service_user.gid)
    groups = os.getgroups()

    bind(f"unix:{workspace}/a.sock", as_spec(service_user))

    assert (workspace / "a.sock").stat().st_uid == service_user.uid
    assert (os.geteuid(), os.getegid(), os.getgroups()) == (0, 0, groups)


def test_unix_in_a_directory_of_somebody_else(workspace: Path, service_user: User) -> None:
    """Root's rights are not lent: in another user's private directory the service user may make no socket."""
    other = user(OTHER_USER)
    os.chown(workspace, other.uid, other.gid)
    workspace.chmod(0o700)

    with pytest.raises(NotPermittedError):
        bind(f"unix:{workspace}/a.sock", as_spec(service_user))

    assert os.geteuid() == 0
    assert not (workspace / "a.sock").exists()


def test_root_follows_no_link_of_the_users(workspace: Path, service_user: User) -> None:
    """A link in the place of the socket leads root nowhere: nothing is made, removed or given away behind it."""
    os.chown(workspace, service_user.uid, service_user.gid)
    target = workspace.parent / f"{workspace.name}-target"
    (workspace / "a.sock").symlink_to(target)

    with pytest.raises(PortUnavailableError):
        bind(f"unix:{workspace}/a.sock", as_spec(service_user))

    assert not target.exists()


def test_stale_unix_socket(workspace: Path) -> None:
    """A socket file on which nobody listens is replaced; one that is served, and any other file, is left and refused."""
    path = workspace / "a.sock"
    with socket.socket(socket.AF_UNIX) as old:
        old.bind(str(path))
        old.listen()
        with pytest.raises(PortUnavailableError, match="address already in use"):
            bind(f"unix:{path}")
        assert path.exists()
    assert bind(f"unix:{path}")

    (workspace / "file").write_text("precious")
    with pytest.raises(PortUnavailableError, match="address already in use"):
        bind(f"unix:{workspace}/file")
    assert (workspace / "file").read_text() == "precious"


def test_no_directory_for_the_socket(workspace: Path) -> None:
    """A Unix socket in a directory that does not exist is refused with that directory."""
    with pytest.raises(PortUnavailableError, match=f"no directory {workspace}/none"):
        bind(f"unix:{workspace}/none/a.sock")


def test_all_or_nothing(workspace: Path) -> None:
    """Where one listener fails, no descriptor, no port and no file is left of the others."""
    with socket.socket() as held:
        held.bind(("0.0.0.0", 443))
        held.listen()
        before = open_fds()

        with pytest.raises(PortUnavailableError):
            bind(f"80 53/udp unix:{workspace}/a.sock 443")

        assert open_fds() == before
        assert list(workspace.iterdir()) == []
    assert bind("80 53/udp 443")


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("192.0.2.1:80", PortUnavailableError, "no such address on this machine"),
        ("[2001:db8::1]:80", PortUnavailableError, "no such address on this machine"),
        ("80,device=none0", PortUnavailableError, "no network device 'none0'"),
    ],
)
def test_impossible(text: str, error: type[JvmbindError], words: str) -> None:
    """An address or a device that this machine does not have is refused by name."""
    with pytest.raises(error) as refusal:
        bind(text)

    assert words in str(refusal.value)
    assert "listener '80' (" in str(refusal.value)


@pytest.mark.parametrize("text", ["80", "127.0.0.1:80", "80/udp", "unix:{}/a.sock"])
def test_the_holder_is_named(workspace: Path, text: str) -> None:
    """An address in use is refused with the name and pid of the process that holds it."""
    text = text.format(workspace)
    program = (
        "import socket, sys\nfrom jvmbind.posix.binding import bind_listeners\n"
        "from jvmbind.listen import number_names\nfrom jvmbind.spec import parse_listen\n"
        "listeners = bind_listeners(number_names([parse_listen(sys.argv[1])]))\nprint('up', flush=True)\nsys.stdin.read()"
    )
    command = [sys.executable, "-I", "-c", program, text]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"up\n"
        name = Path(f"/proc/{holder.pid}/comm").read_text().strip()
        with pytest.raises(PortUnavailableError) as refusal:
            bind(text)
        holder.communicate()

    assert str(refusal.value).endswith(f"address already in use by {name} (pid {holder.pid})")
    assert refusal.value.status == 69


def test_nobody_to_name() -> None:
    """A free address has no holder."""
    assert holder_of(parse_listen("80"), open_holder) == ""
    assert holder_of(parse_listen("53/udp"), open_holder) == ""
    assert holder_of(parse_listen("unix:/no/such/path"), open_holder) == ""


def test_without_privilege(service_user: User) -> None:
    """Below 1024 an ordinary user is refused with status 77 and the ways out; above it needs nothing."""
    os.setgroups([])
    os.setresgid(*[service_user.gid] * 3)
    os.setresuid(*[service_user.uid] * 3)

    with pytest.raises(NotPermittedError) as refusal:
        bind("80")

    message = str(refusal.value)
    assert "--user" in message
    assert "CAP_NET_BIND_SERVICE" in message
    assert "systemd socket unit" in message
    assert bind("8080")


def test_adopted_are_kept_in_order() -> None:
    """Adopted sockets take their declared places among those that are opened."""
    specs = number_names([parse_listen(text) for text in ("a=80", "b=81", "c=82")])
    adopted = bind("b=81")

    listeners = bind_listeners(specs, adopted)

    assert [spec.name for spec, _ in listeners] == ["a", "b", "c"]
    assert listeners[1][1] is adopted[0][1]


def test_failure_leaves_adopted_ones_open() -> None:
    """A failure closes what was opened and not what a parent gave."""
    adopted = bind("b=81")
    specs = number_names([parse_listen(text) for text in ("a=80", "b=81", "c=192.0.2.1:82")])

    with pytest.raises(PortUnavailableError):
        bind_listeners(specs, adopted)

    socket.create_connection(("127.0.0.1", 81), 10).close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", 80), 10)


def inherited(family: int, kind: int, address: tuple[str, int] | str | None, *, listen: bool = False) -> int:
    """Return a descriptor as a parent would pass it: blocking and inheritable."""
    sock = socket.socket(family, kind)
    if address is not None:
        sock.bind(address)
    if listen:
        sock.listen(5)
    sock.set_inheritable(True)
    return sock.detach()


@pytest.mark.parametrize("listen", [False, True])
def test_identify(workspace: Path, listen: bool) -> None:
    """An inherited socket is described by what it is, made non-blocking and close-on-exec, and adopted it listens."""
    dual = inherited(socket.AF_INET6, socket.SOCK_STREAM, ("::", 80), listen=listen)
    one = inherited(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 81), listen=listen)
    datagrams = inherited(socket.AF_INET, socket.SOCK_DGRAM, ("0.0.0.0", 53))
    unix = inherited(socket.AF_UNIX, socket.SOCK_STREAM, f"{workspace}/a.sock", listen=listen)

    found = [identify(f"n{fd}", fd) for fd in (dual, one, datagrams, unix)]

    assert [(spec.protocol, spec.host, spec.port, spec.path) for spec, _ in found] == [
        ("tcp", None, 80, ""),
        ("tcp", "127.0.0.1", 81, ""),
        ("udp", "0.0.0.0", 53, ""),
        ("unix", None, 0, f"{workspace}/a.sock"),
    ]
    for spec, sock in bind_listeners([], found):
        assert spec.inherited
        assert not os.get_blocking(sock.fileno())
        assert not os.get_inheritable(sock.fileno())
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == (spec.protocol != "udp")


@pytest.mark.parametrize("which", ["closed", "file", "pipe", "unbound", "connected", "dgram-unix", "abstract", "pair", "netlink"])
def test_identify_refuses(which: str) -> None:
    """Anything but a bound socket that waits for clients is refused with its number and name."""
    server = socket.create_server(("127.0.0.1", 80))
    pair = socket.socketpair()
    makers: dict[str, Callable[[], int]] = {
        "closed": lambda: 900,
        "file": lambda: os.open("/dev/null", os.O_RDONLY),
        "pipe": lambda: os.pipe()[0],
        "unbound": lambda: inherited(socket.AF_INET, socket.SOCK_STREAM, None),
        "connected": lambda: socket.create_connection(server.getsockname()).detach(),
        "dgram-unix": lambda: inherited(socket.AF_UNIX, socket.SOCK_DGRAM, "\0x"),
        "abstract": lambda: inherited(socket.AF_UNIX, socket.SOCK_STREAM, "\0x"),
        "pair": pair[0].detach,
        "netlink": lambda: inherited(socket.AF_NETLINK, socket.SOCK_RAW, None),
    }
    fd = makers[which]()

    with pytest.raises(JvmbindError, match=rf"inherited fd {fd} \(web\): ") as refusal:
        identify("web", fd)

    assert refusal.value.status == 78


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_inetd(kind: int) -> None:
    """A waiting socket on standard input is taken, and 0, 1 and 2 become /dev/null where inetd put it."""
    fd = inherited(socket.AF_INET, kind, ("127.0.0.1", 80), listen=kind == socket.SOCK_STREAM)
    inode = os.fstat(fd).st_ino
    saved = os.dup(2)
    for standard in range(3):
        os.dup2(fd, standard)
    os.close(fd)
    assert inetd_fd() == 0

    sock = socket.socket(fileno=os.dup(0))
    clear_standard_fds(inode)

    targets = [os.readlink(f"/proc/self/fd/{standard}") for standard in range(3)]
    os.dup2(saved, 2)
    assert targets == ["/dev/null"] * 3
    assert sock.fileno() > 2
    assert os.fstat(sock.fileno()).st_ino == inode


def test_no_inetd() -> None:
    """A file, a socket that does not listen, and a connection on standard input are not inetd's."""
    assert inetd_fd() is None
    server = socket.create_server(("127.0.0.1", 80))
    for sock in (socket.socket(), socket.socketpair()[0], socket.create_connection(server.getsockname())):
        os.dup2(sock.fileno(), 0)
        assert inetd_fd() is None


def test_system_failure_is_one_line() -> None:
    """A failure without a rule of its own is shown with the listener and the kernel's words."""
    import resource  # noqa: PLC0415 - changes this process

    resource.setrlimit(resource.RLIMIT_NOFILE, (len(open_fds()) + 1, 4096))
    with pytest.raises(SystemFailureError) as refusal:
        bind("80 81 82 83")

    assert os.strerror(errno.EMFILE) in str(refusal.value)
