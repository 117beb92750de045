"""The grammar of a listener: every form, every kind of mistake, and that text and specification say the same."""

from __future__ import annotations

import ipaddress
import re
from typing import Any, get_type_hints

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from jvmbind.errors import EX_USAGE, UsageError
from jvmbind.listen import number_names
from jvmbind.spec import (
    DEFAULT_BACKLOG,
    NAME_MAX,
    UNIX_PATH_MAX,
    ListenSpec,
    ServiceSpec,
    host_port,
    is_wildcard,
    parse_listen,
    same_address,
)


def tcp(port: int, host: str | None = None, **more: object) -> ListenSpec:
    """Return a TCP listener without a name."""
    return ListenSpec("", "tcp", host, port, port)._replace(**more)  # type: ignore[arg-type]


def udp(port: int, host: str | None = None, **more: object) -> ListenSpec:
    """Return a UDP listener without a name."""
    return tcp(port, host, **more)._replace(protocol="udp")


def unix(path: str, **more: object) -> ListenSpec:
    """Return a Unix listener without a name."""
    return ListenSpec("", "unix", path=path)._replace(**more)  # type: ignore[arg-type]


FORMS = {
    "80": tcp(80),
    "1": tcp(1),
    "65535": tcp(65535),
    "00080": tcp(80),
    "80/tcp": tcp(80),
    "53/udp": udp(53),
    "443:8443": tcp(443, app_port=8443),
    "53:5353/udp": udp(53, app_port=5353),
    "127.0.0.1:80": tcp(80, "127.0.0.1"),
    "127.0.0.1:80:8080": tcp(80, "127.0.0.1", app_port=8080),
    "0.0.0.0:80": tcp(80, "0.0.0.0"),
    "[::]:80": tcp(80, "::"),
    "[::1]:443": tcp(443, "::1"),
    "[::1]:443:8443/tcp": tcp(443, "::1", app_port=8443),
    "[2001:DB8:0:0::1]:53/udp": udp(53, "2001:db8::1"),
    "[::ffff:192.0.2.1]:80": tcp(80, "192.0.2.1"),
    "http=80": tcp(80)._replace(name="http"),
    "a.b-c_9=127.0.0.1:80:8080/tcp,backlog=7": tcp(80, "127.0.0.1", app_port=8080, name="a.b-c_9", backlog=7),
    "dns=53/udp,reuseport": udp(53, name="dns", reuseport=True),
    "unix=80": tcp(80)._replace(name="unix"),
    "80,backlog=1": tcp(80, backlog=1),
    "80,backlog=2147483647": tcp(80, backlog=2**31 - 1),
    "80,reuseport": tcp(80, reuseport=True),
    "80,v6only": tcp(80, v6only=True),
    "[::1]:80,v6only": tcp(80, "::1", v6only=True),
    "192.0.2.1:80,freebind": tcp(80, "192.0.2.1", freebind=True),
    "80,device=eth0.7": tcp(80, device="eth0.7"),
    "80,device=abcdefghijklmno": tcp(80, device="abcdefghijklmno"),
    "800,bind-only": tcp(800, bind_only=8),
    "800,bind-only=20": tcp(800, bind_only=20),
    "443,optional": tcp(443, optional=True),
    "514/udp,rcvbuf=1048576": udp(514, rcvbuf=1048576),
    "80,defer-accept=30": tcp(80, defer_accept=30),
    "80,fastopen=256": tcp(80, fastopen=256),
    "80,reuseport,backlog=9,freebind": tcp(80, reuseport=True, backlog=9, freebind=True),
    "unix:/run/app.sock": unix("/run/app.sock"),
    "unix:/run/app.sock,mode=0660": unix("/run/app.sock", mode=0o660),
    "unix:/run/app.sock,mode=0": unix("/run/app.sock", mode=0),
    "unix:/run/app.sock,mode=777,backlog=5": unix("/run/app.sock", mode=0o777, backlog=5),
    "api=unix:/run/a=b:c.sock": unix("/run/a=b:c.sock", name="api"),
    "unix:/run/a=b.sock": unix("/run/a=b.sock"),
    "unix:/" + "x" * (UNIX_PATH_MAX - 1): unix("/" + "x" * (UNIX_PATH_MAX - 1)),
    "n" * NAME_MAX + "=80": tcp(80)._replace(name="n" * NAME_MAX),
}


@pytest.mark.parametrize("text", FORMS)
def test_form(text: str) -> None:
    """Each form of the grammar gives exactly the listener that it says, defaults included."""
    assert parse_listen(text) == FORMS[text]


# text: (character that the message points to, counted from 1; what it says was expected)
MISTAKES = {
    "": (1, "[NAME=][ADDR:]PORT"),
    "http": (1, "a port from 1 to 65535"),
    "0": (1, "a port from 1 to 65535"),
    "65536": (1, "a port from 1 to 65535"),
    "080000": (1, "a port from 1 to 65535"),
    "-1": (1, "a port from 1 to 65535"),
    "+80": (1, "a port from 1 to 65535"),
    "8_0": (1, "a port from 1 to 65535"),
    " 80": (1, "a port from 1 to 65535"),
    "\u0668\u0660": (1, "a port from 1 to 65535"),
    "80:": (4, "a port from 1 to 65535"),
    "80:0": (4, "a port from 1 to 65535"),
    "80:https": (4, "a port from 1 to 65535"),
    "127.0.0.1:": (11, "a port from 1 to 65535"),
    "127.0.0.1:80:99999": (14, "a port from 1 to 65535"),
    "=80": (1, "a name before '='"),
    "9x=80": (1, "a name that begins with a letter"),
    "_x=80": (1, "a name that begins with a letter"),
    "a b=80": (2, "a letter, a digit, '.', '_' or '-' in a name"),
    "a:b=80": (2, "a letter, a digit, '.', '_' or '-' in a name"),
    "\u00e4=80": (1, "a name that begins with a letter"),
    "n" * (NAME_MAX + 1) + "=80": (NAME_MAX + 1, f"a name of at most {NAME_MAX} characters"),
    "http=": (6, "a port from 1 to 65535"),
    "80/": (4, "tcp or udp"),
    "80/sctp": (4, "tcp or udp"),
    "80/TCP": (4, "tcp or udp"),
    "/udp": (1, "a port from 1 to 65535"),
    "::1:80": (1, "an IPv6 address in brackets"),
    "[::1:80": (8, "']' after an IPv6 address"),
    "[]:80": (2, "an IPv6 address"),
    "[127.0.0.1]:80": (2, "an IPv6 address"),
    "[::1]": (6, "':' and a port after the address"),
    "[::1]80": (6, "':' and a port after the address"),
    "[::1]/udp": (6, "':' and a port after the address"),
    "[::1],backlog=9": (6, "':' and a port after the address"),
    "[::1]:": (7, "a port from 1 to 65535"),
    "localhost:80": (1, "an IP address"),
    "*:80": (1, "an IP address"),
    "example.org:80": (1, "an IPv4 address, or an IPv6 address in brackets"),
    "127.1:80": (1, "an IPv4 address"),
    "256.0.0.1:80": (1, "an IPv4 address"),
    "http=127.0.0.01:80": (6, "an IPv4 address"),
    ":80": (1, "an IPv4 address"),
    "80,": (4, "an option, one of backlog"),
    "80,,reuseport": (4, "an option, one of backlog"),
    "80,Backlog=9": (4, "an option, one of backlog"),
    "80, reuseport": (4, "an option, one of backlog"),
    "80,nodelay": (4, "an option, one of backlog"),
    "80,mode=0660": (4, "an option of a tcp listener"),
    "53/udp,backlog=9": (8, "an option of a udp listener"),
    "53/udp,bind-only": (8, "an option of a udp listener"),
    "53/udp,defer-accept=1": (8, "an option of a udp listener"),
    "53/udp,fastopen=1": (8, "an option of a udp listener"),
    "unix:/a,reuseport": (9, "an option of a unix listener"),
    "unix:/a,v6only": (9, "an option of a unix listener"),
    "unix:/a,freebind": (9, "an option of a unix listener"),
    "unix:/a,device=lo": (9, "an option of a unix listener"),
    "unix:/a,rcvbuf=1": (9, "an option of a unix listener"),
    "80,reuseport,reuseport": (14, "reuseport only once"),
    "80,backlog=1,backlog=2": (14, "backlog only once"),
    "80,reuseport=1": (4, "reuseport without a value"),
    "80,reuseport=": (4, "reuseport without a value"),
    "80,backlog": (4, "backlog=VALUE"),
    "80,backlog=": (12, "backlog from 1 to"),
    "80,backlog=0": (12, "backlog from 1 to"),
    "80,backlog=x": (12, "backlog from 1 to"),
    "80,backlog=-1": (12, "backlog from 1 to"),
    "80,backlog=2147483648": (12, "backlog from 1 to"),
    "80,backlog=00000000001": (12, "backlog from 1 to"),
    "80,rcvbuf=1073741825": (11, "rcvbuf from 1 to"),
    "80,defer-accept=32768": (17, "defer-accept from 1 to 32767"),
    "80,fastopen=0": (13, "fastopen from 1 to"),
    "80,device=": (11, "the name of a network device"),
    "80,device=a/b": (11, "the name of a network device"),
    "80,device=abcdefghijklmnop": (11, "the name of a network device"),
    "127.0.0.1:80,v6only": (14, "no v6only with an IPv4 address"),
    "[::ffff:127.0.0.1]:80,v6only": (23, "no v6only with an IPv4 address"),
    "unix:": (6, "an absolute path after 'unix:'"),
    "unix:run/a": (6, "an absolute path after 'unix:'"),
    "unix:,mode=0660": (6, "an absolute path after 'unix:'"),
    "unix:/": (6, "the name of a socket and not of a directory"),
    "unix:/run/": (10, "the name of a socket and not of a directory"),
    "unix:/" + "x" * UNIX_PATH_MAX: (6, f"a path of at most {UNIX_PATH_MAX} bytes"),
    "unix:/" + "\u00e4" * 60: (6, f"a path of at most {UNIX_PATH_MAX} bytes"),
    "unix:/a,mode=": (14, "mode in octal"),
    "unix:/a,mode=888": (14, "mode in octal"),
    "unix:/a,mode=1777": (14, "mode in octal"),
    "unix:/a,mode=rw": (14, "mode in octal"),
    "80\n": (3, "a printable character"),
    "80\0": (3, "a printable character"),
    "unix:/a\tb": (8, "a printable character"),
    "\u202e80": (1, "a printable character"),
}


@pytest.mark.parametrize("text", MISTAKES, ids=ascii)
def test_mistake(text: str) -> None:
    """Each kind of mistake is refused with status 64, the whole text, the position, what was expected and what came."""
    position, expected = MISTAKES[text]

    with pytest.raises(UsageError) as refusal:
        parse_listen(text)

    assert refusal.value.status == EX_USAGE
    message = refusal.value.args[0]
    assert message.startswith(f"listener {text!r}, character {position}: expected {expected}"), message
    rest = text[position - 1 :]
    assert message.endswith(f"got {rest!r}" if rest else "the text ends"), message


NAMES = st.text("abcXYZ", min_size=1, max_size=1).flatmap(
    lambda first: st.text("abcXYZ019._-", max_size=NAME_MAX - 1).map(lambda rest: first + rest)
)
PORTS = st.integers(1, 65535)
HOSTS = st.one_of(
    st.none(),
    st.ip_addresses(v=4).map(str),
    # An IPv4-mapped address becomes the IPv4 address, so it is not a canonical form.
    st.ip_addresses(v=6).filter(lambda address: getattr(address, "ipv4_mapped", None) is None).map(str),
)
BACKLOGS = st.integers(1, 2**31 - 1)
DEVICES = st.text("abcdefgh0123456789.-_", min_size=0, max_size=15)
# Two bytes for each of them at most.
PATHS = st.text("abcXYZ019 =:/[]._-#\u00e4\u00df\u03c9", min_size=1, max_size=50).filter(lambda path: not path.endswith("/"))


@st.composite
def listen_specs(draw: st.DrawFn) -> ListenSpec:
    """Draw any listener that the grammar can say."""
    protocol = draw(st.sampled_from(["tcp", "udp", "unix"]))
    name = draw(st.one_of(st.just(""), NAMES))
    if protocol == "unix":
        path = "/" + draw(PATHS)
        return ListenSpec(name, "unix", path=path, mode=draw(st.integers(0, 0o777)), backlog=draw(BACKLOGS))
    host = draw(HOSTS)
    port = draw(PORTS)
    spec = ListenSpec(
        name,
        protocol,
        host,
        port,
        app_port=draw(st.one_of(st.just(port), PORTS)),
        reuseport=draw(st.booleans()),
        freebind=draw(st.booleans()),
        v6only=(host is None or ":" in host) and draw(st.booleans()),
        device=draw(DEVICES),
        rcvbuf=draw(st.integers(0, 2**30)),
    )
    if protocol == "udp":
        return spec
    return spec._replace(
        backlog=draw(BACKLOGS),
        bind_only=draw(st.sampled_from([0, 8, 1, 256])),
        defer_accept=draw(st.integers(0, 32767)),
        fastopen=draw(st.integers(0, 2**31 - 1)),
    )


def render(spec: ListenSpec) -> str:
    """Write a listener as a user would."""
    name = f"{spec.name}=" if spec.name else ""
    options = [
        f"{word}={value}"
        for word, value, default in (
            ("backlog", spec.backlog, DEFAULT_BACKLOG),
            ("device", spec.device, ""),
            ("rcvbuf", spec.rcvbuf, 0),
            ("bind-only", spec.bind_only, 0),
            ("defer-accept", spec.defer_accept, 0),
            ("fastopen", spec.fastopen, 0),
        )
        if value != default
    ]
    flags = {"reuseport": spec.reuseport, "v6only": spec.v6only, "freebind": spec.freebind, "optional": spec.optional}
    options += [word for word, value in flags.items() if value]
    if spec.protocol == "unix":
        return f"{name}unix:{spec.path}," + ",".join([f"mode={spec.mode:04o}", *options])
    app_port = f":{spec.app_port}" if spec.app_port != spec.port else ""
    return name + ",".join([f"{host_port(spec.host, spec.port)}{app_port}/{spec.protocol}", *options])


@given(listen_specs())
def test_what_is_written_is_what_is_read(spec: ListenSpec) -> None:
    """Any listener, written in the grammar, is parsed to the same listener."""
    assert parse_listen(render(spec)) == spec


@given(listen_specs())
def test_address_is_part_of_the_grammar(spec: ListenSpec) -> None:
    """The address that messages show can be given to --listen again."""
    again = parse_listen(spec.address)

    assert (again.host, again.port, again.path) == (spec.host, spec.port, spec.path)


PIECES = st.sampled_from(
    ["80", "443", ":", "/", ",", "=", "[", "]", "::", "::1", "unix:", "udp", "tcp", "127.0.0.1", "mode", "backlog", "a", "0", " "]
)


@given(st.one_of(st.text(), st.lists(PIECES, max_size=10).map("".join)))
@example("\ud800=80")
@example("unix:/\ud800")
@example("80,device=\ud800")
def test_any_text_is_a_listener_or_a_usage_error(text: str) -> None:
    """Whatever text is given, it is a listener or a UsageError of one printable line."""
    try:
        spec = parse_listen(text)
    except UsageError as error:
        line = str(error)
        assert line
        assert len(line.splitlines()) == 1
        assert line.isprintable()
    else:
        assert spec.protocol in {"tcp", "udp", "unix"}
        assert spec.protocol == "unix" or (1 <= spec.port <= 65535 and 1 <= spec.app_port <= 65535)


def names(*texts: str) -> list[str]:
    """Return the names that listeners get together."""
    return [spec.name for spec in number_names([parse_listen(text) for text in texts])]


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ([], []),
        (["80"], ["80"]),
        (["80", "53/udp", "unix:/run/a.sock"], ["80", "53-udp", "a.sock"]),
        (["80", "80/udp"], ["80", "80-udp"]),
        (["127.0.0.1:80", "[::1]:80"], ["80", "80-2"]),
        (["80,reuseport", "80,reuseport", "80,reuseport"], ["80", "80-2", "80-3"]),
        (["x=80", "81"], ["x", "81"]),
        (["unix:/a/s", "unix:/b/s"], ["s", "s-2"]),
        (["unix:/a/s", "s=80"], ["s-2", "s"]),
        (["unix:/a/x:y z"], ["x_y_z"]),
        (["unix:/" + "x" * 80], ["x" * NAME_MAX]),
    ],
)
def test_names_that_are_made(texts: list[str], expected: list[str]) -> None:
    """A listener without a name gets one from its port or path, and never one that another has."""
    assert names(*texts) == expected


@given(st.lists(listen_specs(), max_size=8))
def test_names_are_unique(specs: list[ListenSpec]) -> None:
    """Named together, listeners have names of their own that LISTEN_FDNAMES can carry, and are otherwise unchanged."""
    try:
        named = number_names(specs)
    except UsageError:
        return
    assert [spec._replace(name="") for spec in named] == [spec._replace(name="") for spec in specs]
    assert len({spec.name for spec in named}) == len(named)
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+", spec.name) for spec in named)
    assert all(after.name == before.name for before, after in zip(specs, named, strict=True) if before.name)


CONFLICTS = [
    ("80", "80"),
    ("80", "80:8080"),
    ("80", "0.0.0.0:80"),
    ("80", "[::]:80"),
    ("80", "127.0.0.1:80"),
    ("80", "[::1]:80"),
    ("80", "80,v6only"),
    ("80,reuseport", "80"),
    ("0.0.0.0:80", "127.0.0.1:80"),
    ("0.0.0.0:80", "[::]:80"),
    ("[::]:80", "127.0.0.1:80"),
    ("[::]:80,v6only", "[::1]:80"),
    ("127.0.0.1:80", "127.0.0.1:80"),
    ("[::1]:80", "[0:0:0:0:0:0:0:1]:80"),
    ("127.0.0.1:80", "[::ffff:127.0.0.1]:80"),
    ("53/udp", "127.0.0.1:53/udp"),
    ("80,device=lo", "80,device=lo"),
    ("unix:/a", "unix:/a"),
]
PEACE = [
    ("80", "81"),
    ("80", "80/udp"),
    ("80,reuseport", "80,reuseport"),
    ("80,reuseport", "127.0.0.1:80,reuseport"),
    ("80,v6only", "0.0.0.0:80"),
    ("[::]:80,v6only", "127.0.0.1:80"),
    ("127.0.0.1:80", "127.0.0.2:80"),
    ("127.0.0.1:80", "[::1]:80"),
    ("0.0.0.0:80", "[::1]:80"),
    ("80,device=lo", "80,device=eth0"),
    ("unix:/a", "unix:/b"),
    ("443:8443", "8443:443"),
]


@pytest.mark.parametrize("turned", [False, True], ids=["", "turned"])
@pytest.mark.parametrize("pair", CONFLICTS, ids=" and ".join)
def test_conflict(pair: tuple[str, str], turned: bool) -> None:
    """Two listeners of which the kernel would refuse the second are refused before anything is bound, in either order."""
    texts = pair[::-1] if turned else pair

    with pytest.raises(UsageError, match="want the same address"):
        names(*(f"n{i}={text}" for i, text in enumerate(texts)))


@pytest.mark.parametrize("turned", [False, True], ids=["", "turned"])
@pytest.mark.parametrize("pair", PEACE, ids=" and ".join)
def test_no_conflict(pair: tuple[str, str], turned: bool) -> None:
    """Two listeners that the kernel lets live side by side are accepted, in either order."""
    texts = pair[::-1] if turned else pair

    assert len(names(*texts)) == 2


def test_a_name_given_twice() -> None:
    """Two listeners of one given name are refused with that name."""
    with pytest.raises(UsageError, match="two listeners are named 'a'"):
        names("a=80", "81", "a=82")


@given(st.lists(st.sampled_from(["80", "80,v6only", "127.0.0.1:80", "[::1]:80", "81", "53/udp", "unix:/a"]), max_size=5))
def test_conflicts_do_not_depend_on_order(texts: list[str]) -> None:
    """Whether a set of listeners is refused does not depend on the order in which they are declared."""

    def refused(order: list[str]) -> bool:
        try:
            names(*order)
        except UsageError:
            return True
        return False

    assert refused(texts) == refused(texts[::-1])


# By type, so that a field added to the specification is tried as well. An argument that is not valid UTF-8 is held with
# surrogates (PEP 383).
FIELDS: dict[Any, st.SearchStrategy[Any]] = {
    str: st.text(),
    bool: st.booleans(),
    int: st.integers(0, 2**31),
    float: st.floats(0.001, 86400),
    tuple[int, ...] | None: st.none() | st.lists(st.integers(0, 65535)).map(tuple),
    tuple[str, ...]: st.lists(st.text()).map(tuple),
    tuple[tuple[str, str], ...]: st.lists(st.tuples(st.text(), st.text())).map(tuple),
    tuple[ListenSpec, ...]: st.lists(listen_specs(), max_size=4).map(tuple),
}
SERVICES = st.builds(ServiceSpec, **{name: FIELDS[hint] for name, hint in get_type_hints(ServiceSpec).items()})


@given(SERVICES)
def test_service_survives_being_written(spec: ServiceSpec) -> None:
    """A service written for the next role, as JSON or packed, is read back equal, types included, and told from the other."""
    assert not spec.packed().startswith(spec.to_json()[:2])

    for again in (ServiceSpec.from_json(spec.to_json()), ServiceSpec.unpacked(spec.packed())):
        assert again == spec
        assert all(isinstance(listener, ListenSpec) for listener in again.listeners)
        assert [type(value) for value in again] == [type(value) for value in spec]


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[]", b"{}", b"null", b'{"listeners": 5}', b'{"listeners": [], "java_arguments": [], "x": 1}', b"\xff"]
)
def test_other_json_is_no_service(data: bytes) -> None:
    """What `to_json` did not write gives ValueError, TypeError or KeyError, which the role reports as one line."""
    with pytest.raises((ValueError, TypeError, KeyError)):
        ServiceSpec.from_json(data)


@given(st.ip_addresses(v=4))
def test_mapped_address_is_the_ipv4_address(address: ipaddress.IPv4Address) -> None:
    """An IPv4-mapped IPv6 address is the same address as the IPv4 one, a scope does not count, a wildcard is one."""
    assert same_address(f"::ffff:{address}") == same_address(str(address)) == address
    assert same_address("fe80::1%eth0") == ipaddress.ip_address("fe80::1")
    assert is_wildcard(None)
    assert is_wildcard(str(address)) == (int(address) == 0)
