"""What outlives the supervisor: the manager's store of listeners, and socket units.

Run by pytest as root, against a real systemd as PID 1 of its own namespaces. Must not import jvmbind.
"""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from support import procfs
from support.clients import udp_ask
from support.users import SERVICE_USER
from support.waiting import wait_until

if TYPE_CHECKING:
    from support.units import Unit

Start = Callable[..., None]
STORE = "FileDescriptorStoreMax=16\nRestart=always\nRestartSec=500ms"


def listeners(unit: Unit) -> dict[str, tuple[str, str]]:
    """Return name -> (address, who holds it) of the listeners by `jvmbind status`."""
    return {found["name"]: (found["address"], str(found["claimed_by"])) for found in json.loads(unit.status())["listeners"]}


def inodes(unit: Unit) -> set[int]:
    """Return the sockets that clients can reach, by inode."""
    return {row.inode for row in unit.network.sockets() if row.open and not row.protocol.startswith("unix")}


def kill_supervisor(unit: Unit) -> None:
    """Kill it with SIGKILL and wait until systemd has noticed."""
    main = unit.lab.main_pid(unit.file)
    os.kill(main, signal.SIGKILL)
    wait_until(lambda: not os.path.exists(f"/proc/{main}"), 10, "the end of the supervisor")


def test_killed_supervisor(unit: Unit, as_root: Start) -> None:
    """SIGKILL of the supervisor closes no port: who connects meanwhile is served by its successor, on the same sockets.

    Names, numbers of ports and kinds of sockets come back as they were.
    """
    as_root("http=80", "udp=53", "http=8443", options="-l web=80 -l dns=53/udp -l tls=443:8443", more=STORE)
    before, names = inodes(unit), listeners(unit)
    assert unit.property("NFileDescriptorStore") == "6"  # one for IPv4 beside each

    for count in (1, 2):
        kill_supervisor(unit)
        with unit.network.connect("127.0.0.1", 80, 30) as early, unit.network.connect("127.0.0.1", 443, 30) as other:
            assert unit.property("ActiveState") != "active"
            for client in (early, other):
                client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
                assert client.makefile("rb").read().startswith(b"HTTP/1.1 200 OK")
        unit.await_property("ActiveState", "active")
        assert unit.property("NRestarts") == str(count)
        assert inodes(unit) == before
        assert listeners(unit) == names
        assert b"version=1 x" in udp_ask(unit.network, "127.0.0.1", 53, b"x")
        assert unit.property("NFileDescriptorStore") == "6"  # one for IPv4 beside each


def test_queued_connection(unit: Unit, as_root: Start) -> None:
    """A connection that a hung JVM never accepted is served after the supervisor was killed."""
    as_root("http=80", more=STORE)
    main = unit.lab.main_pid(unit.file)
    (jvm,) = [pid for pid in unit.network.processes() if procfs.parent(pid) == main and procfs.is_jvm(pid)]
    procfs.stop_process(jvm)

    with unit.network.connect("127.0.0.1", 80, 30) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        kill_supervisor(unit)
        assert client.makefile("rb").read().startswith(b"HTTP/1.1 200 OK")


def test_restart_keeps_and_stop_releases(unit: Unit, as_root: Start) -> None:
    """`systemctl restart` keeps the sockets; `systemctl stop` gives the ports up."""
    as_root("http=80", more=STORE)
    before = inodes(unit)

    unit.systemctl("restart")
    assert inodes(unit) == before
    unit.systemctl("stop")

    assert inodes(unit) == set()


def test_reload_changes_the_store(unit: Unit) -> None:
    """A listener that a reload adds is stored, one that it drops is taken out, and the store is right after a SIGKILL."""
    config = f"/etc/{unit.name}.toml"
    file = unit.lab.root / config.lstrip("/")
    java = unit.command("", "http=80", "http=8080").split(" -- ")[1].split()

    def declare(listen: str, *app: str) -> None:
        words = [*java[: java.index("service.App") + 1], *app]
        file.write_text(
            f"user = '{SERVICE_USER}'\n[listen]\n{listen}\n[java]\nhome = '{unit.jdk.home}'\narguments = {json.dumps(words)}\n"
        )

    declare("web = '80'\nalt = '8080'", "http=80", "http=8080")
    unit.write(" ".join([*unit.jvmbind, "run", "-n", unit.name, "-c", config]), STORE)
    unit.systemctl("start")
    declare("web = '80'\nnew = '8081'", "http=80", "http=8081")
    unit.systemctl("reload")
    wait_until(lambda: unit.property("NFileDescriptorStore") == "4", 10, "two stored listeners, of two sockets each")
    wait_until(lambda: len(json.loads(unit.status())["generations"]) == 1, 20, "the end of the first generation")
    for port in (80, 8081):  # a thread that still sleeps on an idle socket leaves that with the next client
        assert unit.get(port=port).status == 200
    wait_until(lambda: len(inodes(unit)) == 2, 10, "two sockets, and no idle one")
    before = inodes(unit)
    kill_supervisor(unit)
    unit.await_property("ActiveState", "active")

    assert inodes(unit) == before
    assert set(listeners(unit)) == {"web", "new"}
    assert unit.get(port=8081).status == 200


def test_moved_and_renamed_listeners(unit: Unit) -> None:
    """A reload that moves a port, and fails or not, and one that swaps two names: after each a SIGKILL loses no port.

    What is left of the listener of before is given up. The store has room for no more than the service has.
    """
    config = f"/etc/{unit.name}.toml"
    file = unit.lab.root / config.lstrip("/")
    java = unit.command("", "http=80").split(" -- ")[1].split()

    def declare(web: int, alt: int, *app: int) -> None:
        words = [*java[: java.index("service.App") + 1], *(f"http={port}" for port in app)]
        file.write_text(
            f"user = '{SERVICE_USER}'\n[listen]\nweb = '{web}'\nalt = '{alt}'\n[supervise]\nstart_timeout = 6\n"
            f"[java]\nhome = '{unit.jdk.home}'\narguments = {json.dumps(words)}\n"
        )

    def survives(web: int, alt: int) -> None:
        wait_until(lambda: len(json.loads(unit.status())["generations"]) == 1, 30, "one generation")
        wait_until(lambda: unit.property("NFileDescriptorStore") == "4", 10, "two stored listeners, of two sockets each")
        for port in (web, alt):  # a thread that still sleeps on an idle socket leaves that with the next client
            assert unit.get(port=port).status == 200
        wait_until(lambda: len(inodes(unit)) == 2, 10, "two sockets, and no idle one")
        before = inodes(unit)
        kill_supervisor(unit)
        unit.await_property("ActiveState", "active")
        assert inodes(unit) == before
        assert {name: address for name, (address, _) in listeners(unit).items()} == {"web": str(web), "alt": str(alt)}
        assert unit.property("NFileDescriptorStore") == "4"

    declare(80, 8080, 80, 8080)
    unit.write(" ".join([*unit.jvmbind, "run", "-n", unit.name, "-c", config]), STORE.replace("16", "4"))
    unit.systemctl("start")
    declare(8081, 8080, 80, 8080)
    assert unit.lab.run("systemctl", "reload", unit.file, check=False).returncode != 0
    declare(80, 8080, 80, 8080)
    survives(80, 8080)
    declare(8081, 8080, 8081, 8080)
    unit.systemctl("reload")
    survives(8081, 8080)
    declare(8080, 8081, 8081, 8080)
    unit.systemctl("reload")
    survives(8080, 8081)


def socket_units(unit: Unit) -> None:
    """Write socket units for port 80, a datagram port and port 443, in an order that is not that of their names."""
    for name, listen in (("web", "ListenStream=80"), ("dns", "ListenDatagram=53"), ("admin", "ListenStream=127.0.0.1:443")):
        unit.lab.write_unit(
            f"{unit.name}-{name}.socket",
            f"[Socket]\n{listen}\nFileDescriptorName={name}\nService={unit.file}\n",
        )


def test_socket_units(unit: Unit) -> None:
    """With socket units no privilege is needed at all: the first client starts the service, and each socket is known by name."""
    socket_units(unit)
    names = [f"{unit.name}-{name}.socket" for name in ("web", "dns", "admin")]
    options = f"-l admin=127.0.0.1:443:8443 -l dns=53/udp -l web=80 {unit.control}"
    more = f"{unit.as_user}\nCapabilityBoundingSet=\nSockets={' '.join(names)}"
    unit.write(unit.command(options, "http=80", "udp=53", "http=8443"), more)
    unit.lab.run("systemctl", "start", *names)
    assert unit.property("ActiveState") == "inactive"

    assert unit.get().status == 200  # the client that starts it
    unit.await_property("ActiveState", "active")
    assert unit.get(port=443).status == 200
    assert b"version=1 x" in udp_ask(unit.network, "127.0.0.1", 53, b"x")
    assert set(listeners(unit)) == {"admin", "dns", "web"}
    before = inodes(unit)
    unit.systemctl("restart")
    assert inodes(unit) == before
    unit.lab.run("systemctl", "stop", *names, unit.file)
    assert inodes(unit) == set()


def test_socket_units_and_the_store(unit: Unit) -> None:
    """A socket that comes back both from its unit and from the store is one listener."""
    socket_units(unit)
    names = [f"{unit.name}-{name}.socket" for name in ("web", "dns", "admin")]
    more = f"{unit.as_user}\nSockets={' '.join(names)}\n{STORE}"
    # Two of them are declared by what they are, one is not declared at all and has the name that its unit gives.
    unit.write(unit.command(f"-l web=80 -l dns=53/udp {unit.control}", "http=80", "udp=53", "http=443"), more)
    unit.lab.run("systemctl", "start", *names)
    unit.systemctl("start")
    before, known = inodes(unit), listeners(unit)

    kill_supervisor(unit)
    with unit.network.connect("127.0.0.1", 80, 30) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert client.makefile("rb").read().startswith(b"HTTP/1.1 200 OK")
    unit.await_property("ActiveState", "active")

    assert inodes(unit) == before
    assert set(listeners(unit)) == set(known) == {"web", "dns", "admin"}
    unit.lab.run("systemctl", "stop", *names, unit.file)


def test_another_user_cannot_take_the_port(unit: Unit, as_root: Start) -> None:
    """While nobody serves after a SIGKILL, the stored listener still holds the port against everybody else."""
    as_root("http=80", more=STORE)
    kill_supervisor(unit)

    with unit.network.open_socket(socket.AF_INET6, socket.SOCK_STREAM) as rival:
        rival.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with pytest.raises(OSError, match="in use"):
            rival.bind(("::", 80))
    unit.await_property("ActiveState", "active")
