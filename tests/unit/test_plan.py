"""The plan that root gets: what jvmbind writes comes back, and whatever else is in it is refused."""

from __future__ import annotations

import pytest
from fuzz.fuzz_plans import fuzz
from hypothesis import given
from hypothesis import strategies as st

from jvmbind.errors import NotPermittedError, UsageError
from jvmbind.listen import further_sockets, number_names
from jvmbind.plan.flat import write_plan
from jvmbind.root.plan import PLAN_MAX, Plan, read_plan
from jvmbind.spec import ListenSpec, parse_listen

GOOD = "rest={}\0listen=http\0protocol=tcp\0port=80\0"
TEXTS = (
    "80",
    "http=443:8443",
    "127.0.0.1:86,backlog=9",
    "[::1]:444,v6only",
    "dns=53/udp",
    "unix:/run/a.sock,mode=0660",
    "81,bind-only=3",
    "0.0.0.0:82,reuseport,freebind,device=lo",
    "83,rcvbuf=4096,defer-accept=3,fastopen=5,optional",
    "[fe80::1%lo]:84",
)


def test_all_that_can_be_said_comes_back() -> None:
    """A plan with every option of a listener, limits, a name and bytes that are no UTF-8 is read as it was written."""
    specs = number_names([parse_listen(text) for text in TEXTS])
    listeners = [(spec, -1) for spec in (*specs, *further_sockets(specs))]
    passed = ListenSpec("a.socket", "tcp", port=8080, app_port=8080, inherited=True, stored=True)
    listeners += [(passed, 3), (ListenSpec("b", "tcp", port=85, app_port=85), -2)]
    listeners.append((ListenSpec("c", "unix", path="/run/\udcff", inherited=True), 4))
    limits = (("nofile", 1024, -1), ("core", 0, 2**63 - 1))
    for plan in (
        Plan("www-data", "daemon", "shop", chosen=True, control=True, limits=limits, listeners=tuple(listeners), rest=b"{}"),
        Plan(name="java", made="/run/user/1/jvmbind/java/control", direct=True, rest=b""),
    ):
        assert read_plan(write_plan(plan)) == plan


@pytest.mark.parametrize(
    "text",
    [
        "",
        "rest={}",
        GOOD + "x",
        GOOD + "x=1\0",
        GOOD + "port=81\0",
        GOOD + "limit=nofile:1:2\0",
        "name=a\0name=b\0",
        "uid=0\0",
        "name=\0",
        "name=..\0",
        "name=.x\0",
        "name=a/b\0",
        "name=broker.sock\0",
        "listen=a\0protocol=tcp\0port=80\0listen=a\0protocol=tcp\0port=81\0",
        "listen=a\0protocol=tcp\0port=80\0of=b\0",
        "listen=a\0protocol=tcp\0port=80\0host=::1%a..b\0",
        "listen=a\0protocol=tcp\0port=80\0host=::1%é\0",
        f"name={'x' * 65}\0",
        "name=\u00e4\0",
        "chosen=0\0",
        "control=yes\0",
        "made=x\0",
        "made=/x/\0",
        "limit=nofile:1\0",
        "limit=no file:1:2\0",
        "limit=nofile:x:2\0",
        f"limit=nofile:0:{2**63}\0",
        f"user={'x' * 257}\0",
        GOOD + "host=localhost\0",
        GOOD + "host=1.2.3\0",
        GOOD + "host=::1%" + "x" * 16 + "\0",
        GOOD + "path=/a\0",
        GOOD + "fd=3\0",
        GOOD + "inherited=1\0",
        GOOD + "fd=3\0inherited=1\0sent=0\0",
        GOOD + "device=\0",
        GOOD + "device=a/b\0",
        GOOD + "mode=512\0",
        GOOD + "bind_only=257\0",
        GOOD + "options=x\0",
        GOOD + "user=x\0",
        "listen=a\0port=80\0",
        "listen=a\0protocol=tcp\0",
        "listen=a\0protocol=sctp\0port=1\0",
        "listen=a\0protocol=tcp\0port=0\0",
        "listen=a\0protocol=tcp\0port=\u0663\0",
        "listen=a\0protocol=unix\0",
        "listen=a\0protocol=unix\0path=a\0",
        f"listen=a\0protocol=unix\0path=/{'x' * 107}\0",
        f"listen={'x' * 513}\0protocol=tcp\0port=80\0",
        2 * (GOOD.removeprefix("rest={}\0") + "fd=3\0inherited=1\0"),
    ],
)
def test_what_root_refuses(text: str) -> None:
    """An unknown key, one twice or in the wrong place, and a value out of its bounds are refused with status 77, in one line."""
    with pytest.raises(NotPermittedError, match="the plan of the service has a wrong") as refusal:
        read_plan(text.encode())

    assert len(str(refusal.value).splitlines()) == 1


def test_a_plan_too_long() -> None:
    """A plan of more than 16 MiB is not read, nor one of more sockets than a process can have."""
    for data in (b"rest=" + bytes(PLAN_MAX), b"listen=a\0" * 65537):
        with pytest.raises(NotPermittedError):
            read_plan(data)


def test_text_that_no_system_call_takes() -> None:
    """A lone surrogate of a caller's JSON is wrong usage in words, before root sees it."""
    with pytest.raises(UsageError, match="expected text"):
        write_plan(Plan(user="\ud800"))


@given(st.binary(max_size=200))
def test_any_bytes(data: bytes) -> None:
    """Any bytes are a plan or are refused."""
    try:
        read_plan(data)
    except NotPermittedError:
        return


def test_hostile_plans() -> None:
    """Some thousand plans that were tampered with are refused, or hold nothing out of bounds; the command makes a million."""
    counts = fuzz(4000, 7)

    assert min(counts["refused"], counts["accepted"]) > 200
    assert counts["of several lines"] == 0
