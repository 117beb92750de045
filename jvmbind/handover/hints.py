"""What to declare, where an application binds what is not declared: the option that would give it what it wants.

Runs in the responder as the service user; pure but for one look at /proc.
Sources: ip(7) on ip_unprivileged_port_start; capabilities(7) on CAP_NET_BIND_SERVICE.
"""

from __future__ import annotations

from jvmbind.handover.address import declared_as
from jvmbind.spec import host_port, is_wildcard
from jvmbind.wire import Tried

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from jvmbind.handover.address import Wanted
    from jvmbind.spec import ListenSpec
    from jvmbind.wire import Message

_FLOOR = "/proc/sys/net/ipv4/ip_unprivileged_port_start"
_CAP_NET_BIND_SERVICE = 10

# How servers that bind one address by default are told to bind every one: what their command line has, and their own option.
_SERVERS = (
    ("kc.home.dir", "--http-host=0.0.0.0"),
    ("quarkus", "-Dquarkus.http.host=0.0.0.0"),
    ("jboss-modules", "-Djboss.bind.address=0.0.0.0"),
    ("org.jboss.modules", "-Djboss.bind.address=0.0.0.0"),
    ("org.springframework.boot.loader", "--server.address=0.0.0.0"),
    ("kafka.Kafka", "listeners=PLAINTEXT://:PORT in its properties"),
    ("org.elasticsearch", "http.host: 0.0.0.0 in its configuration"),
    ("org.opensearch", "http.host: 0.0.0.0 in its configuration"),
    ("org.apache.catalina", "no address= in its <Connector>"),
    ("org.eclipse.jetty.start", "jetty.http.host=0.0.0.0"),
)
_NAMED_MAX = 3  # listeners in one hint
_SAID_MAX = 100  # binds of which nothing is said for the second time


class Hints:
    """What is said of an application's binds that are given no listener, each thing once: a program may repeat them for ever."""

    def __init__(self, specs: Sequence[ListenSpec], pid: int, report: Callable[[Message], None], *, in_file: bool = False) -> None:
        """Nothing has been said yet; `pid` is the process that binds. `in_file`: the service has a configuration file."""
        self.in_file = in_file
        self._specs, self._pid, self._report = specs, pid, report
        self._said: set[str] = set()
        self.asked_for: set[str] = set()  # names of listeners of which it asked for a narrower address: no other is meant

    def option_for(self, wanted: Wanted) -> str:
        """Return how an address is declared."""
        return option_for(wanted, in_file=self.in_file)

    def say(self, text: str) -> None:
        """Report what became of a bind."""
        if text not in self._said:
            if len(self._said) < _SAID_MAX:
                self._said.add(text)
            self._report(Tried(text))

    def say_undeclared(self, wanted: Wanted, claimed: Collection[str], *, of_an_agent: bool) -> None:
        """Report a bind that is left to the kernel; `claimed` are the names of the listeners that the application has.

        What an agent binds while the JVM starts is in no listener's place.
        """
        missing = (
            [] if of_an_agent else [one for one in self._specs if one.required and one.name not in {*claimed, *self.asked_for}]
        )
        refused = is_out_of_reach(wanted.port, self._pid)
        hint = undeclared(wanted, self._specs, missing, refused=refused, in_file=self.in_file)
        self.say(f"{wanted}: {hint}" if hint else str(wanted))


def every_address(words: Iterable[str]) -> str:
    """Return how the server of a command line is told to listen on every address, "" where it is none that is known."""
    text = " ".join(words)
    return next((option for mark, option in _SERVERS if mark in text), "")


def is_out_of_reach(port: int, pid: int) -> bool:
    """Whether the kernel will not let a process bind `port`; False where that cannot be known."""
    try:
        with open(_FLOOR, encoding="ascii") as file:
            if port >= int(file.read()):
                return False
        with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as status:
            effective = next(line.split()[1] for line in status if line.startswith("CapEff:"))
        return not int(effective, 16) >> _CAP_NET_BIND_SERVICE & 1
    except (OSError, ValueError, StopIteration):
        return False


def option_for(wanted: Wanted, *, in_file: bool = False) -> str:
    """Return the option that declares an address, with the key of the file where there is one."""
    everywhere = is_wildcard(wanted.host) and not wanted.v6only
    text = str(wanted.port) if everywhere else host_port(wanted.host, wanted.port)
    text = _text(text, wanted.protocol, v6only=wanted.v6only and is_wildcard(wanted.host))
    return declared_as(text, f"{wanted.protocol}{wanted.port}", in_file=in_file)


def undeclared(
    wanted: Wanted, specs: Sequence[ListenSpec], missing: Sequence[ListenSpec], *, refused: bool, in_file: bool = False
) -> str:
    """Return what to say of a bind that no listener answers to, "" where nothing seems to be wrong.

    `missing` are the listeners that the application must bind and has not bound; `refused`: the kernel will say EACCES.
    """
    verdict = "refused by the kernel: it is not declared" if refused else "not declared"
    other = next((one for one in specs if one.app_port == wanted.port and one.protocol != wanted.protocol and not one.of), None)
    if other is not None:
        theirs, ours = other.protocol.upper(), wanted.protocol.upper()
        where = f"{other.address}/{other.protocol}"
        ways = option_for(wanted, in_file=in_file)
        return f"{verdict}, listener {other.name!r} ({where}) is for {theirs}; for {ours} declare {ways} as well"
    if refused:
        return f"{verdict}; declare it as {option_for(wanted, in_file=in_file)}"
    fitting = [one for one in missing if one.protocol == wanted.protocol]
    if not fitting:
        return ""
    named, more = fitting[:_NAMED_MAX], len(fitting[_NAMED_MAX:])
    moves = [
        f"if listener {s.name!r} ({s.address}/{s.protocol}) is meant, declare it as {_moved(s, wanted, in_file=in_file)}"
        for s in named
    ]
    return "; ".join((verdict, *moves, *([f"{more} more listeners are not bound either"] if more else [])))


def _moved(listener: ListenSpec, wanted: Wanted, *, in_file: bool) -> str:
    """Return the option by which the application that wants another address is given a listener's port."""
    host = listener.host if is_wildcard(wanted.host) else wanted.host
    app_port = f":{wanted.port}" if wanted.port != listener.port else ""
    return declared_as(_text(f"{host_port(host, listener.port)}{app_port}", wanted.protocol), listener.name, in_file=in_file)


def _text(address: str, protocol: str, *, v6only: bool = False) -> str:
    return address + ("/udp" if protocol == "udp" else "") + (",v6only" if v6only else "")
