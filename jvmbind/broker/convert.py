"""Turns what other programs allow into lines of a policy: authbind's directory, and lists of `port:user`.

Runs in the command line as any user who may read them; changes nothing. Source: authbind(1), version 2.1.3.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import pwd
import re
import stat
from typing import TYPE_CHECKING

from jvmbind.errors import ConfigurationError, printable

if TYPE_CHECKING:
    from collections.abc import Iterator

_LINE = re.compile(
    r"(?P<first>[0-9a-fA-F.:]+)(?:/(?P<length>[0-9]+)|-(?P<last>[0-9a-fA-F.:]+))?,(?P<low>[0-9]+)(?:-(?P<high>[0-9]+))?"
)
_OLD_LINE = re.compile(r"(?P<first>[0-9.]+)/(?P<length>[0-9]+):(?P<low>[0-9]+),(?P<high>[0-9]+)")
_PORT = re.compile(r"([0-9]{1,5})(?:/(tcp|udp))?\s*:\s*(@?[A-Za-z0-9_][A-Za-z0-9_.-]*)")
_LARGEST = 1 << 20  # characters
_MARKED = (512, 1023)  # a file for one of these ports has a `!` before its name, and no other file has


def from_authbind(directory: str) -> Iterator[str]:
    """Yield lines of a policy that say what authbind's directory says, and a comment for what cannot be said.

    Raises ConfigurationError for a directory that cannot be read.
    """
    yield f"# From {printable(directory)}. A listener on every address of both IP versions needs * as its address."
    folders = {name: _files(directory, name) for name in ("byport", "byaddr", "byuid")}
    for path, name in folders["byport"]:
        yield from _by_mode(path, name, "*", name.removeprefix("!"))
    for path, name in folders["byaddr"]:
        address, _, port = name.removeprefix("!").rpartition("," if "," in name else ":")
        yield from _by_mode(path, name, address, port)
    for path, name in folders["byuid"]:
        yield from _by_lines(path, name)


def _files(directory: str, folder: str) -> list[tuple[str, str]]:
    try:
        os.listdir(directory)
        return [(f"{directory}/{folder}/{name}", name) for name in sorted(os.listdir(f"{directory}/{folder}"))]
    except OSError as error:
        if isinstance(error, FileNotFoundError) and os.path.isdir(directory):
            return []
        msg = f"authbind {error.filename}: {error.strerror}; expected authbind's directory, as /etc/authbind"
        raise ConfigurationError(msg) from error


def _by_mode(path: str, name: str, address: str, port: str) -> Iterator[str]:
    """Yield rules for who may execute the file; who may not is denied, whatever files come later."""
    try:
        number = _port(port)
        where = "*" if address == "*" else _network(address, None, None)[0]
        if name.startswith("!") != (_MARKED[0] <= number <= _MARKED[1]):
            raise ValueError(name)  # noqa: TRY301 - as what is no port
        info = os.stat(path)
    except (ValueError, OSError):
        yield f"# {printable(path)}: authbind does not use it"
        return
    yield f"# {printable(path)}"
    # The owner's bits count for the owner alone, and the group's for the other members of the group: path_resolution(7).
    owner, group, others = (bool(info.st_mode & bit) for bit in (0o100, 0o010, 0o001))
    if info.st_uid and (owner, owner) != (group, others):
        yield _rule(_user(info.st_uid), where, port, allow=owner)
    if group != others:
        yield _rule(f"@{info.st_gid}", where, port, allow=group)
    yield _rule("*", where, port, allow=others)


def _rule(who: str, where: str, ports: str, *, allow: bool = True) -> str:
    return f"{'allow' if allow else 'deny '} {who} * {where} {ports}"


def _by_lines(path: str, name: str) -> Iterator[str]:
    uid, marked = name.removeprefix("!"), name.startswith("!")
    if not (uid.isascii() and uid.isdigit() and len(uid) <= 10):
        yield f"# {printable(path)}: authbind does not use it"
        return
    try:
        lines = _text(path).splitlines()
    except OSError as error:
        msg = f"authbind {path}: {error.strerror}; expected a file that this user may read"
        raise ConfigurationError(msg) from error
    yield f"# {printable(path)}"
    for line in lines:
        match = _OLD_LINE.fullmatch(line.strip()) or _LINE.fullmatch(line.strip())
        try:
            if match is None:
                raise ValueError(line)  # noqa: TRY301 - as what is not an address
            found: dict[str, str | None] = {"last": None, "high": None, **match.groupdict()}
            networks = _network(str(found["first"]), found["length"], found["last"])
            low, high = int(str(found["low"])), int(found["high"] or str(found["low"]))
            ranges = [_MARKED] if marked else [(1, _MARKED[0] - 1)]
            ports = [f"{max(low, one)}-{min(high, two)}" for one, two in ranges if max(low, one) <= min(high, two)]
        except ValueError:
            networks, ports = [], []
        if line.strip() and not (networks and ports):
            yield f"# not used: {printable(line)}"
        for network in networks:
            for item in ports:
                first, _, last = item.partition("-")
                yield _rule(_user(int(uid)), network, first if first == last else item)


def _network(first: str, length: str | None, last: str | None) -> list[str]:
    """Return the networks of an address, a prefix or a range as a policy writes them; raises ValueError."""
    if length is not None:
        networks = [ipaddress.ip_network(f"{first}/{length}")]
    else:
        low, high = ipaddress.ip_address(first), ipaddress.ip_address(last or first)
        if last is None and int(low) == 0:
            return [str(low)]  # every address, in both notations
        networks = list(ipaddress.summarize_address_range(low, high))
    return [str(network.network_address) if network.num_addresses == 1 else str(network) for network in networks]


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and 1 <= int(text) <= 65535 and text == str(int(text))):
        raise ValueError(text)
    return int(text)


def from_ports(path: str) -> Iterator[str]:
    """Yield lines of a policy for a file with lines PORT[/PROTOCOL]:USER; raises ConfigurationError with file and line."""
    try:
        lines = _text(path).split("\n")
    except OSError as error:
        msg = f"{path}: {error.strerror}; expected a file with lines PORT:USER"
        raise ConfigurationError(msg) from error
    yield f"# From {printable(path)}."
    for number, line in enumerate(lines, 1):
        words = line.partition("#")[0].strip()
        match = _PORT.fullmatch(words)
        if match is not None and 1 <= int(match[1]) <= 65535 and match[3].isprintable():
            rule = f"allow {match[3]} {match[2] or '*'} * {int(match[1])}"
            yield f"# no policy is about root: {rule}" if match[3].strip("@0") in {"", "root"} else rule
        elif words:
            msg = f"{path}:{number}: expected PORT:USER, PORT/tcp:USER or PORT/udp:USER, got {words!r}"
            raise ConfigurationError(msg)


def _text(path: str) -> str:
    """Return what stands in a file of the other program, none for what is no file; raises OSError."""
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), encoding="utf-8", errors="replace") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, "is no regular file", path)
        return file.read(_LARGEST)


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
