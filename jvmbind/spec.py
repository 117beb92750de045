"""What is to be run and on which listeners: plain values, and the grammar of a listener.

Used by every role as any user; pure, no system calls. Each interpreter of a service imports this module before the first
request is served: so these are named tuples and not dataclasses, and what the grammar and JSON need is imported there.
"""

from __future__ import annotations

import marshal

from jvmbind.errors import UsageError
from jvmbind.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ipaddress
    from typing import Any, NoReturn

DEFAULT_BACKLOG = 4096
BIND_ONLY_SOCKETS = 8  # connections at once, where a bind-only listener does not say how many
BIND_ONLY_MAX = 256
UNIX_PATH_MAX = 107  # sun_path holds 108 bytes with the final NUL: unix(7)
NAME_MAX = 64
BROKER_SOCKET = "broker.sock"  # beside the directories of the services, so none may have that name

_DIGITS = "0123456789"
_NAME_START = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
NAME_REST = _NAME_START | frozenset(f"{_DIGITS}._-")


class ListenSpec(NamedTuple):
    """One declared listener. `host` is None where no address was given (a wildcard, dual stack where there is IPv6)."""

    name: str
    protocol: str  # "tcp", "udp" or "unix"
    host: str | None = None
    port: int = 0
    app_port: int = 0  # the port that the application binds; equal to `port` where nothing else was said
    path: str = ""
    mode: int = 0o666
    backlog: int = DEFAULT_BACKLOG
    reuseport: bool = False
    v6only: bool = False
    freebind: bool = False
    device: str = ""
    bind_only: int = 0  # how many connections at once have this as their source port; 0 = it listens
    rcvbuf: int = 0  # bytes, 0 = the kernel's default
    defer_accept: int = 0  # seconds, 0 = off
    fastopen: int = 0  # queue length, 0 = off
    inherited: bool = False  # came from a parent
    stored: bool = False  # opened by an earlier life of this service, and passed by the service manager's store
    optional: bool = False  # a service is ready without it: declared so, or passed by a parent and not declared beside others
    of: str = ""  # the listener of which this is a further socket, see `further_sockets`
    ipv4: bool = False  # a socket of family AF_INET, for applications that use such sockets
    options: tuple[tuple[str, str], ...] = ()  # socket options as bound: name and value in hex, where not the kernel's default

    @property
    def address(self) -> str:
        """The declared address as people write it: `80`, `127.0.0.1:80`, `[::1]:443`, `unix:/run/a.sock`."""
        return f"unix:{self.path}" if self.protocol == "unix" else host_port(self.host, self.port)

    @property
    def listens(self) -> bool:
        """Whether the socket is put into the listening state (a datagram socket has none)."""
        return self.protocol != "udp" and not self.bind_only

    @property
    def required(self) -> bool:
        """Whether a service is ready only once the application has it; a source port is bound when it is needed."""
        return not self.optional and not self.bind_only

    @property
    def is_dual(self) -> bool:
        """Whether it takes clients of both IP versions."""
        return self.protocol != "unix" and not self.ipv4 and listener_families(self) == {4, 6}


class UserSpec(NamedTuple):
    """Who a service runs as, resolved: ids as numbers, names where there are any."""

    uid: int
    gid: int
    groups: tuple[int, ...]  # supplementary groups
    name: str  # the user's name, or the number as text
    home: str
    shell: str


class ServiceSpec(NamedTuple):
    """One service as the supervisor and the worker see it, after everything was read, checked and bound. Times in seconds."""

    name: str
    java_home: str
    java_arguments: tuple[str, ...]
    listeners: tuple[ListenSpec, ...]
    inherit: str = ""  # the listener that System.inheritedChannel() gives; "" = the first
    strict_binds: bool = False
    connect_ports: tuple[int, ...] | None = None  # the TCP ports that the JVM may connect to; None = all
    isolate_network: bool = False  # each JVM in a network of its own, from which it connects nowhere
    direct: bool = False
    quiet: bool = False
    log_format: str = "time"  # of LOG_FORMATS; the journal has a form of its own
    daemon: str = ""  # a commons-daemon class to run instead of a main class; "" = none
    script: tuple[str, ...] = ()  # a wrapper script and its arguments to run instead of Java; () = none
    ready: str = "accept"  # READY_MODES, or the http(s) address of a probe
    ready_status: int = 0  # the HTTP status that the probe expects; 0 = any from 200 to 399
    start_timeout: float = 60.0
    stop_timeout: float = 30.0
    drain_timeout: float = 30.0  # for the connections of a generation that a reload has replaced
    stop_drain_timeout: float = 5.0  # for the answers that are being made when the service is stopped
    restart: str = "on-failure"  # RESTART_POLICIES
    reload: str = "auto"  # RELOAD_MODES
    backoff_first: float = 0.1
    backoff_max: float = 10.0
    backoff_waiting: float = 3.0  # the longest pause while a client waits in a queue
    backoff_reset: float = 10.0  # a life this long makes the next crash count as the first again
    start_limit: int = 0  # deaths in a row before any of them was ready, then the service ends; 0 = never
    standby: int = 0  # generations parked at their first bind
    queue_timeout: float = 0.0  # an accept queue that does not drain for so long is a sign of a hung JVM; 0 = off
    heartbeat_timeout: float = 0.0  # a JVM that does not answer for so long is one; 0 = off
    watchdog: tuple[str, ...] = ("log", "dump", "restart")  # WATCHDOG_ACTIONS in the order in which they are taken
    control: str = ""  # path of the control socket; "" = none
    control_gid: int = -1  # a group whose members may ask too; -1 = none
    control_allow: tuple[str, ...] = ()  # for what
    config: str = ""  # the file that a reload reads again; "" = none
    broker: str = ""  # path of the socket of a broker, which a reload may ask for a port; "" = none
    command_line: tuple[str, ...] = ()  # what stood after `jvmbind run`, for a reload to read again
    not_passed: tuple[str, ...] = ()  # of a script: names of the variables of who started it that it does not get
    at_start: tuple[tuple[str, str], ...] = ()  # keys that count at the start alone, each with what it said there

    def to_json(self) -> bytes:
        """Return this specification as JSON."""
        import json  # noqa: PLC0415 - see above

        return json.dumps(self._plain()).encode()

    def packed(self) -> bytes:
        """Return this specification for a worker: as `marshal` writes it, which needs no module to be read."""
        return marshal.dumps(self._plain())

    def _plain(self) -> dict[str, Any]:
        return self._asdict() | {"listeners": [listener._asdict() for listener in self.listeners]}

    @classmethod
    def unpacked(cls, data: bytes) -> ServiceSpec:
        """Rebuild what this worker's starter has `packed`; raises ValueError, EOFError or TypeError on what is cut short."""
        return cls._of(marshal.loads(data))  # noqa: S302 - who starts a worker decides what it runs anyway

    @classmethod
    def from_json(cls, data: bytes) -> ServiceSpec:
        """Rebuild what `to_json` wrote; raises ValueError or TypeError on anything else."""
        import json  # noqa: PLC0415 - see above

        return cls._of(json.loads(data))

    @classmethod
    def _of(cls, values: dict[str, Any]) -> ServiceSpec:
        for listener in values["listeners"]:
            listener["options"] = tuple((name, value) for name, value in listener["options"])
        values["listeners"] = tuple(ListenSpec(**listener) for listener in values["listeners"])
        for name in ("java_arguments", "script", "watchdog", "command_line", "control_allow", "not_passed"):
            values[name] = tuple(values[name])
        values["at_start"] = tuple((key, said) for key, said in values["at_start"])
        return cls(**values | {"connect_ports": None if (ports := values.get("connect_ports")) is None else tuple(ports)})


RESTART_POLICIES = ("never", "on-crash", "on-failure", "always")
LOG_FORMATS = ("plain", "time", "json")
RELOAD_MODES = ("auto", "overlap", "restart")
READY_MODES = ("accept", "listen", "connect", "notify")
WATCHDOG_ACTIONS = ("log", "dump", "restart")


def host_port(host: str | None, port: int) -> str:
    """Return `port`, `host:port` or `[host]:port`, as a listener is written."""
    if host is None:
        return str(port)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def same_address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Return the address that `host` stands for; an IPv4-mapped IPv6 address is the IPv4 address (RFC 4291, 2.5.5.2)."""
    import ipaddress  # noqa: PLC0415 - see above

    address = ipaddress.ip_address(host.partition("%")[0])
    mapped = getattr(address, "ipv4_mapped", None)
    return mapped if mapped is not None else address


class _Option(NamedTuple):
    field: str
    kind: str  # "flag", "count", "flag or count", "mode" or "device"
    low: int = 0
    high: int = 0
    protocols: tuple[str, ...] = ("tcp", "udp", "unix")


_OPTIONS = {
    "backlog": _Option("backlog", "count", 1, 2**31 - 1, ("tcp", "unix")),
    "reuseport": _Option("reuseport", "flag", protocols=("tcp", "udp")),
    "v6only": _Option("v6only", "flag", protocols=("tcp", "udp")),
    "freebind": _Option("freebind", "flag", protocols=("tcp", "udp")),
    "device": _Option("device", "device", protocols=("tcp", "udp")),
    "bind-only": _Option("bind_only", "flag or count", 1, BIND_ONLY_MAX, ("tcp",)),
    "optional": _Option("optional", "flag"),
    "rcvbuf": _Option("rcvbuf", "count", 1, 2**30, ("tcp", "udp")),
    "defer-accept": _Option("defer_accept", "count", 1, 32767, ("tcp",)),
    "fastopen": _Option("fastopen", "count", 1, 2**31 - 1, ("tcp",)),
    "mode": _Option("mode", "mode", 0, 0o777, ("unix",)),
}


class _Reader:
    """The text of one listener and the errors that point into it."""

    def __init__(self, text: str) -> None:
        self.text = text

    def fail(self, position: int, expected: str) -> NoReturn:
        rest = self.text[position:]
        got = f"got {rest!r}" if rest else "the text ends"
        msg = f"listener {self.text!r}, character {position + 1}: expected {expected}, {got}"
        raise UsageError(msg)


def parse_listen(text: str, *, free: bool = False) -> ListenSpec:
    """Parse `[NAME=][ADDR:]PORT[:APP_PORT][/tcp|/udp][,option...]` or `[NAME=]unix:/path[,option...]`.

    The name is "" where none was given: `number_names` gives one once all listeners are known. With `free` a port may be 0,
    which is any that is free; the application's port is 0 too then, where none was given.
    Raises UsageError with the text, the position and what was expected.
    """
    reader = _Reader(text)
    if not text:
        reader.fail(0, "[NAME=][ADDR:]PORT[:APP_PORT][/tcp|/udp][,option...] or [NAME=]unix:/path")
    if not text.isprintable():
        reader.fail(next(i for i, c in enumerate(text) if not c.isprintable()), "a printable character")
    name, start = _name(reader)
    if text.startswith("unix:", start):
        return _unix(reader, name, start + len("unix:"))
    end = text.find(",", start)
    end = len(text) if end < 0 else end
    protocol = "tcp"
    slash = text.find("/", start, end)
    if slash >= 0:
        protocol = text[slash + 1 : end]
        if protocol not in {"tcp", "udp"}:
            reader.fail(slash + 1, "tcp or udp")
    host, port, app_port = _address(reader, start, slash if slash >= 0 else end, 0 if free else 1)
    values = _options(reader, end, protocol)
    if values.get("v6only") and host is not None and ":" not in host:
        reader.fail(text.find("v6only", end), "no v6only with an IPv4 address")
    spec = ListenSpec(name=name, protocol=protocol, host=host, port=port, app_port=app_port)
    return spec._replace(**values)


def _name(reader: _Reader) -> tuple[str, int]:
    text = reader.text
    equals = text.find("=")
    comma = text.find(",")
    if equals < 0 or (0 <= comma < equals):
        return "", 0
    name = text[:equals]
    if name.startswith("unix:"):
        return "", 0  # the '=' is part of the path
    if not name:
        reader.fail(0, "a name before '='")
    if name[0] not in _NAME_START:
        reader.fail(0, "a name that begins with a letter")
    for i, char in enumerate(name):
        if char not in NAME_REST:
            reader.fail(i, "a letter, a digit, '.', '_' or '-' in a name")
    if len(name) > NAME_MAX:
        reader.fail(NAME_MAX, f"a name of at most {NAME_MAX} characters")
    return name, equals + 1


def _address(reader: _Reader, start: int, end: int, lowest: int) -> tuple[str | None, int, int]:
    text = reader.text
    if text.startswith("[", start):
        close = text.find("]", start, end)
        if close < 0:
            reader.fail(end, "']' after an IPv6 address")
        host: str | None = _ip(reader, start + 1, close, 6, "an IPv6 address")
        if not text.startswith(":", close + 1) or close + 1 >= end:
            reader.fail(close + 1, "':' and a port after the address")
        ports = close + 2
    else:
        parts = text[start:end].split(":")
        if len(parts) > 3:
            reader.fail(start, "an IPv6 address in brackets, as in [::1]:80")
        ports = start
        host = None
        first = parts[0]
        if len(parts) == 3 or (len(parts) == 2 and not _is_number(first)):
            if first in {"*", "localhost"}:
                reader.fail(start, "an IP address (leave it out for every address; 127.0.0.1 or [::1] for this machine)")
            host = _ip(
                reader,
                start,
                start + len(first),
                4,
                "an IPv4 address, or an IPv6 address in brackets",
            )
            ports = start + len(first) + 1
    middle = text.find(":", ports, end)
    port = _port(reader, ports, middle if middle >= 0 else end, lowest)
    if middle < 0:
        return host, port, port
    return host, port, _port(reader, middle + 1, end)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _ip(reader: _Reader, start: int, end: int, version: int, expected: str) -> str:
    import ipaddress  # noqa: PLC0415 - see above

    literal = reader.text[start:end]
    try:
        address = ipaddress.IPv6Address(literal) if version == 6 else ipaddress.IPv4Address(literal)
    except ValueError:
        reader.fail(start, expected)
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped) if mapped is not None else str(address)


def _port(reader: _Reader, start: int, end: int, lowest: int = 1) -> int:
    digits = reader.text[start:end]
    if not _is_number(digits) or len(digits) > 5 or not lowest <= int(digits) <= 65535:
        reader.fail(start, f"a port from {lowest} to 65535")
    return int(digits)


def _unix(reader: _Reader, name: str, start: int) -> ListenSpec:
    end = reader.text.find(",", start)
    end = len(reader.text) if end < 0 else end
    path = reader.text[start:end]
    if not path.startswith("/"):
        reader.fail(start, "an absolute path after 'unix:'")
    if path.endswith("/"):
        reader.fail(end - 1, "the name of a socket and not of a directory")
    if len(path.encode()) > UNIX_PATH_MAX:
        reader.fail(start, f"a path of at most {UNIX_PATH_MAX} bytes")
    return ListenSpec(name=name, protocol="unix", path=path)._replace(**_options(reader, end, "unix"))


def _options(reader: _Reader, start: int, protocol: str) -> dict[str, Any]:
    values: dict[str, Any] = {}
    position = start
    while position < len(reader.text):
        position += 1  # the comma
        end = reader.text.find(",", position)
        end = len(reader.text) if end < 0 else end
        word, equals, value = reader.text[position:end].partition("=")
        option = _OPTIONS.get(word)
        if option is None:
            reader.fail(position, "an option, one of " + ", ".join(n for n, o in _OPTIONS.items() if protocol in o.protocols))
        if protocol not in option.protocols:
            reader.fail(position, f"an option of a {protocol} listener ({word} is one of {' and '.join(option.protocols)})")
        if option.field in values:
            reader.fail(position, f"{word} only once")
        if option.kind != "flag or count" and (option.kind == "flag") == bool(equals):
            reader.fail(position, f"{word} without a value" if equals else f"{word}=VALUE")
        default = str(BIND_ONLY_SOCKETS) if option.kind == "flag or count" and not equals else value
        values[option.field] = _value(reader, position + len(word) + 1, option, word, default)
        position = end
    return values


def _value(reader: _Reader, position: int, option: _Option, word: str, value: str) -> int | bool | str:
    if option.kind == "flag":
        return True
    if option.kind == "device":
        # IFNAMSIZ is 16 with the final NUL: netdevice(7)
        if not 0 < len(value) < 16 or "/" in value or not value.isascii():
            reader.fail(position, "the name of a network device")
        return value
    octal = option.kind == "mode"
    allowed = _DIGITS[:8] if octal else _DIGITS
    expected = f"{word} in octal, as 0660" if octal else f"{word} from {option.low} to {option.high}"
    if not value or len(value) > 10 or any(c not in allowed for c in value):
        reader.fail(position, expected)
    number = int(value, 8 if octal else 10)
    if not option.low <= number <= option.high:
        reader.fail(position, expected)
    return number


def is_wildcard(host: str | None) -> bool:
    """Whether `host` means every address of a family (or of both: None)."""
    return host in {None, "::", "0.0.0.0"}  # noqa: S104 - a comparison


def listener_families(spec: ListenSpec) -> set[int]:
    """Return the IP versions, 4 and 6, of the clients that a listener takes."""
    if spec.host is None or spec.host == "::":
        return {6} if spec.v6only else {4, 6}
    return {6} if ":" in spec.host else {4}
