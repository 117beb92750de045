"""What a type checker finds in programs that use the API, and what the names say of themselves.

mypy --strict and basedpyright check this file: each `type: ignore` names the error that must be found there, and one that is
not needed is an error itself (warn_unused_ignores, reportUnnecessaryTypeIgnoreComment).
"""

from __future__ import annotations

import typing
from typing import TYPE_CHECKING

import jvmbind

if TYPE_CHECKING:

    def mistakes(running: jvmbind.RunningService) -> None:
        """Each of these is an error, of this code."""
        jvmbind.Service(java={"jat": "x.jar"})  # type: ignore[typeddict-unknown-key]
        jvmbind.Service(java={"jar": 5})  # type: ignore[typeddict-item]
        jvmbind.Service(java={"jar": "x"}, supervise={"restart": "on-fail"})  # type: ignore[arg-type]
        jvmbind.Service(java={"jar": "x"}, listen=80)  # type: ignore[arg-type]
        jvmbind.Service(java={"jar": "x"}, env="PATH")  # type: ignore[arg-type]
        jvmbind.Service(java={"jar": "x", "options": "-Xmx1g"})  # type: ignore[typeddict-item]
        jvmbind.Service(java={"jar": "x"}, control={"allow": "status"})  # type: ignore[arg-type]
        jvmbind.Service(java={"jar": "x"}).start(stdot=None)  # type: ignore[call-arg]
        jvmbind.Service(java={"jar": "x"}, listen={"http": 0}, env=["A"], control={"allow": ["status"]})
        running.reload("x.jar")  # type: ignore[arg-type]
        print(running.state == "runing")  # type: ignore[comparison-overlap]
        running.wait_for("redy")  # type: ignore[arg-type]
        running.status().state = "ready"  # type: ignore[misc]
        for event in running.events():
            print(event.kind == "died")  # type: ignore[comparison-overlap]

    async def typed(running: jvmbind.AsyncRunningService) -> None:
        """The same calls have the same results in both handles."""
        result: jvmbind.ChangeResult = await running.reload()
        status: int = await running.stop()
        typing.assert_type((result.ok, status), tuple[bool, int])


def test_both_handles_have_the_same_members() -> None:
    """What a program can do with a handle it can do with that for asyncio too; one is not forgotten there."""
    public = {name for name in dir(jvmbind.RunningService) if not name.startswith("_")}

    assert public - set(dir(jvmbind.AsyncRunningService)) == set()


def test_the_documents_name_every_public_name() -> None:
    """Each exception of a handle says in its docstring when it is raised, and each value what it is."""
    for name in jvmbind.__all__:
        found = getattr(jvmbind, name)
        if isinstance(found, type):
            assert found.__doc__, name
            assert not found.__doc__.startswith(f"{name}("), name  # the one that dataclasses make


def test_type_hints_can_be_asked_for() -> None:
    """typing.get_type_hints works on the values and on the tables, as tools that read them need it."""
    for kind in (jvmbind.Status, jvmbind.Event, jvmbind.Death, jvmbind.ChangeResult, jvmbind.Generation, jvmbind.ListenerStatus):
        assert typing.get_type_hints(kind)
    for table in (jvmbind.Java, jvmbind.Supervise, jvmbind.Control, jvmbind.Security):
        assert typing.get_type_hints(table)


def test_repr_and_equality() -> None:
    """Two descriptions of the same are equal, and what one shows holds no variable of the environment."""
    one, two = (jvmbind.Service(java={"jar": "/x.jar"}, listen={"http": 80}, env=["TOKEN=s3cret"]) for _ in range(2))

    assert one == two
    assert one != jvmbind.Service(java={"jar": "/y.jar"})
    assert repr(one) == "<Service '-jar /x.jar' on ['80']>"


def test_help_begins_with_how_to_use_it() -> None:
    """The first thing that help(jvmbind) shows is a program."""
    assert "import jvmbind" in str(jvmbind.__doc__)[:200]
