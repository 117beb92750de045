"""What people use for low ports without jvmbind, and what of the configuration replaces it.

Pure: each function is told what was seen. Used by `jvmbind doctor`, as any user. Sources: authbind(1), setcap(8), jsvc(1),
iptables-extensions(8) on REDIRECT, nft(8).
"""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

from jvmbind.doctor.finding import Finding, Level

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

_RULES = "/etc/authbind"
_REDIRECT = re.compile(
    r"^-A (?P<chain>PREROUTING|OUTPUT) (?P<rest>.*--dport (?P<port>\d+) .*-j REDIRECT --to-ports? (?P<to>\d+).*)$"
)
_NFT = re.compile(r"(?P<kind>tcp|udp) dport (?P<port>\d+) .*redirect to :(?P<to>\d+)")
_JSVC = re.compile(r"^Exec(?:Start|StartPre)=[-@:+!]*(?P<command>\S*jsvc\b.*)$", re.MULTILINE)
_JSVC_VALUES = frozenset(
    {"-cp", "-classpath", "-user", "-home", "-java-home", "-pidfile", "-outfile", "-errfile", "-procname", "-cwd"}
)


def authbind(files: Mapping[str, Iterable[str]]) -> Finding | None:
    """Judge the rules of authbind: the names in /etc/authbind/byport and byaddr."""
    paths = [f"{_RULES}/{folder}/{name}" for folder, names in files.items() for name in names]
    if not paths:
        return None
    ports = sorted({int(match[1]) for path in paths if (match := re.search(r"(?:^|[/,:])(\d{1,5})$", path))})
    return Finding(
        "authbind",
        Level.WARNING,
        f"authbind rules: {', '.join(paths)}",
        "whom these files let execute may bind the port whenever it is free; authbind works through a setuid program, and under "
        "jvmbind there is nothing for it to do",
        (f"rm {' '.join(shlex.quote(path) for path in paths)}",),
        config="\n".join(["[listen]", *(f'port{port} = "{port}"' for port in ports)]) if ports else "",
    )


def capable_java(path: str) -> Finding:
    """Return the finding about a `java` with a file capability."""
    return Finding(
        "setcap-java",
        Level.WARNING,
        f"{path} has a file capability",
        "whoever may run it may bind low ports with any program in Java; the loader ignores LD_LIBRARY_PATH for it, the JVM "
        "may not find its own libraries, and an update of the package takes it away",
        (f"setcap -r {shlex.quote(path)}",),
        config='[listen]\nhttp = "80"',
    )


def jsvc(units: Mapping[str, str]) -> Iterator[Finding]:
    """Yield a finding for each unit that starts jsvc; `units` are names and texts."""
    for name, text in units.items():
        match = _JSVC.search(text.replace("\\\n", " "))
        if match is not None:
            yield Finding(
                "jsvc",
                Level.WARNING,
                f"{name} starts jsvc",
                "a process of root stays for as long as the service lives; jvmbind runs the same class and leaves nothing of root",
                (f"systemctl disable --now {shlex.quote(name)}",),
                config=_of_jsvc(match["command"]),
            )


def _of_jsvc(command: str) -> str:
    """Return the configuration that starts what a command line of jsvc starts."""
    words = _words(command)[1:]
    user, class_path, options, rest = "", "", [], []
    while words:
        word = words.pop(0)
        if word in _JSVC_VALUES:
            value = words.pop(0) if words else ""
            user = value if word == "-user" else user
            class_path = value if word in {"-cp", "-classpath"} else class_path
        elif word.startswith(("-D", "-X", "-ea", "-agent", "-javaagent")):
            options.append(word)
        elif not word.startswith("-"):
            rest = [word, *words]
            break
    lines = [f"user = {_toml(user or 'www-data')}", "", "[listen]", 'http = "80"', "", "[java]"]
    lines += [f"daemon = {_toml(rest[0] if rest else 'CLASS')}", f"classpath = {_toml(class_path)}"]
    lines += [f"{key} = [{', '.join(map(_toml, values))}]" for key, values in (("options", options), ("args", rest[1:])) if values]
    return "\n".join(lines)


def _toml(text: str) -> str:
    """Return a basic string of TOML: a control character is not allowed in one, and printed nowhere."""
    plain = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(char if char.isprintable() else f"\\U{ord(char):08x}" for char in plain) + '"'


def _words(rule: str) -> list[str]:
    """Return the words of a rule, whose comment may hold anything."""
    try:
        return shlex.split(rule)
    except ValueError:
        return rule.split()


def redirects(iptables: str, nft: str, family: str = "iptables") -> Iterator[Finding]:
    """Yield a finding for each rule that redirects a low port: of `iptables-save -t nat` and `nft list ruleset`."""
    why = "the server still listens on the other port, where clients reach it too, and any user may take that while it restarts"
    for line in iptables.splitlines():
        match = _REDIRECT.match(line.strip())
        if match is not None and int(match["port"]) < 1024:
            kind = "/udp" if "-p udp" in match["rest"] else ""
            yield Finding(
                "redirect",
                Level.WARNING,
                f"{family} redirects port {match['port']} to {match['to']}",
                why,
                (shlex.join([family, "-t", "nat", "-D", match["chain"], *_words(match["rest"])]),),
                config=f'[listen]\nport{match["port"]} = "{match["port"]}:{match["to"]}{kind}"',
            )
    for line in nft.splitlines():
        match = _NFT.search(line)
        if match is not None and int(match["port"]) < 1024:
            kind = "/udp" if match["kind"] == "udp" else ""
            yield Finding(
                "redirect",
                Level.WARNING,
                f"nftables redirects port {match['port']} to {match['to']}",
                why,
                advice="nft -a list ruleset shows the handle of the rule; nft delete rule TABLE CHAIN handle N",
                config=f'[listen]\nport{match["port"]} = "{match["port"]}:{match["to"]}{kind}"',
            )
