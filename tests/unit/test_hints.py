"""What to declare, for each way in which a bind can miss its listener."""

from __future__ import annotations

import pytest

from jvmbind.handover.address import Wanted, find
from jvmbind.handover.hints import every_address, option_for, undeclared
from jvmbind.spec import ListenSpec, parse_listen

BOTH = Wanted("tcp", "::", 8080)

OPTIONS = [
    (Wanted("tcp", "::", 443), "-l 443"),
    (Wanted("tcp", "0.0.0.0", 443), "-l 443"),
    (Wanted("udp", "::", 53), "-l 53/udp"),
    (Wanted("tcp", "127.0.0.1", 80), "-l 127.0.0.1:80"),
    (Wanted("udp", "::1", 53), "-l '[::1]:53/udp'"),
    (Wanted("tcp", "::", 80, v6only=True), "-l '[::]:80,v6only'"),
]


@pytest.mark.parametrize(("wanted", "option"), OPTIONS)
def test_the_option_declares_what_was_wanted(wanted: Wanted, option: str) -> None:
    """The option that is named, given to jvmbind, makes a listener that is given for the very bind."""
    assert option_for(wanted) == option
    assert find([parse_listen(option.removeprefix("-l ").strip("'"))], wanted).indexes == (0,)


@pytest.mark.parametrize(
    ("listener", "wanted", "option"),
    [
        ("80", BOTH, "-l 80:8080"),
        ("10.0.0.1:80", BOTH, "-l 10.0.0.1:80:8080"),
        ("80", Wanted("tcp", "127.0.0.1", 8080), "-l 127.0.0.1:80:8080"),
        ("80", Wanted("tcp", "::1", 8080), "-l '[::1]:80:8080'"),
        ("53/udp", Wanted("udp", "::", 5353), "-l 53:5353/udp"),
        ("[::1]:80", Wanted("tcp", "127.0.0.1", 80), "-l 127.0.0.1:80"),
    ],
)
def test_another_port_than_declared(listener: str, wanted: Wanted, option: str) -> None:
    """An application that binds another port than the one declared is named the option that gives it that listener."""
    spec = parse_listen(listener)._replace(name="web")

    hint = undeclared(wanted, [spec], [spec], refused=False)

    assert hint == f"not declared; if listener 'web' ({spec.address}/{spec.protocol}) is meant, declare it as {option}"
    assert find([parse_listen(option.removeprefix("-l ").strip("'"))], wanted).indexes == (0,)


@pytest.mark.parametrize(
    ("name", "key"), [("web", '[listen] web = "[::1]:80:8080"'), ("80", 'listen = ["[::1]:80:8080"]')], ids=["named", "array"]
)
def test_the_key_of_a_file(name: str, key: str) -> None:
    """A service that has a file is told its key beside the option, in the form that fits the listener's name."""
    spec, wanted = parse_listen("80")._replace(name=name), Wanted("tcp", "::1", 8080)

    assert undeclared(wanted, [spec], [spec], refused=False, in_file=True).endswith(f"as -l '[::1]:80:8080', in the file {key}")
    assert option_for(wanted, in_file=True) == "-l '[::1]:8080', in the file [listen] tcp8080 = \"[::1]:8080\""
    refusal = find([spec], Wanted("tcp", "::1", 80), in_file=True).refusal
    assert f"as -l '[::1]:80', in the file {key.replace(':8080', '')}, or let" in refusal


def test_each_listener_that_is_missing() -> None:
    """Where several listeners are not bound yet, the option for each is named, and none for those of another protocol."""
    specs = [parse_listen(text)._replace(name=text) for text in ("80", "443", "53/udp")]

    hint = undeclared(BOTH, specs, specs, refused=False)

    assert hint.split("declare it as -l ")[1:] == ["80:8080; if listener '443' (443/tcp) is meant, ", "443:8080"]
    assert undeclared(BOTH, specs, [], refused=False) == ""
    many = [parse_listen(str(port))._replace(name=f"p{port}") for port in range(100, 140)]
    hint = undeclared(BOTH, many, many, refused=False)
    assert hint.count("is meant") == 3
    assert hint.endswith("; 37 more listeners are not bound either")


@pytest.mark.parametrize(("listener", "wanted"), [("53", Wanted("udp", "::", 53)), ("53/udp", Wanted("tcp", "::", 53))])
@pytest.mark.parametrize("refused", [True, False])
def test_the_other_protocol(listener: str, wanted: Wanted, refused: bool) -> None:
    """A port that is declared for the other protocol is named with both, refused by the kernel or not."""
    spec: ListenSpec = parse_listen(listener)._replace(name="dns")

    hint = undeclared(wanted, [spec], [], refused=refused)

    assert hint.startswith("refused by the kernel" if refused else "not declared")
    assert hint.endswith(f"for {wanted.protocol.upper()} declare {option_for(wanted)} as well")


@pytest.mark.parametrize(
    ("words", "option"),
    [
        (("-Djboss.home.dir=/opt/w", "/opt/w/jboss-modules.jar", "-mp", "/opt/w/modules"), "-Djboss.bind.address=0.0.0.0"),
        (("-Dkc.home.dir=/opt/k", "-cp", "/opt/k/lib/quarkus-run.jar"), "--http-host=0.0.0.0"),
        (("-cp", "libs/*", "kafka.Kafka", "server.properties"), "listeners=PLAINTEXT://:PORT in its properties"),
        (("-jar", "/srv/shop.jar"), ""),
    ],
)
def test_how_a_server_listens_everywhere(words: tuple[str, ...], option: str) -> None:
    """A server that binds one address by default is known by its command line, and named its own option."""
    assert every_address(words) == option
    refusal = find([parse_listen("80")], Wanted("tcp", "127.0.0.1", 80), every_address=option).refusal
    assert refusal.endswith(f"let the server listen on every address ({option})" if option else "listen on every address")
