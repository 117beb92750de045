"""The named tuples of jvmbind.record beside those of `typing`, which they stand for."""

from __future__ import annotations

import copy
import pickle
import typing
from typing import Any

import pytest

from jvmbind.record import NamedTuple


class Ours(NamedTuple):
    """One of ours."""

    name: str
    port: int = 80
    tags: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """Both in one."""
        return f"{self.name}:{self.port}"


class Theirs(typing.NamedTuple):
    """The same, made by the standard library."""

    name: str
    port: int = 80
    tags: tuple[str, ...] = ()


CALLS: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
    (("a",), {}),
    (("a", 1), {}),
    (("a", 1, ("x",)), {}),
    ((), {"name": "a", "tags": ("x",)}),
    (("a",), {"port": 2}),
    ((), {}),
    (("a", 1, (), 4), {}),
    (("a",), {"name": "b"}),
    (("a",), {"wrong": 1}),
]


def made(kind: Any, values: tuple[Any, ...], named: dict[str, Any]) -> Any:
    """Return what a call makes, the exception's type where it fails."""
    try:
        return tuple(kind(*values, **named))
    except TypeError:
        return TypeError


@pytest.mark.parametrize(("values", "named"), CALLS)
def test_made_by_the_same_calls(values: tuple[Any, ...], named: dict[str, Any]) -> None:
    """The same calls make the same values, and the same calls raise TypeError."""
    assert made(Ours, values, named) == made(Theirs, values, named)


def test_behaves_as_one_of_typing() -> None:
    """Fields, defaults, equality, copies, names and patterns are those of a named tuple."""
    ours: Any = Ours("a", 1)
    theirs: Any = Theirs("a", 1)

    assert ours == theirs
    assert hash(ours) == hash(theirs)
    assert (ours.name, ours.port, ours.tags, ours.text) == ("a", 1, (), "a:1")
    assert ours._asdict() == theirs._asdict()
    assert ours._replace(port=2) == theirs._replace(port=2)
    assert repr(ours) == repr(theirs).replace("Theirs", "Ours")
    assert (Ours._fields, Ours._field_defaults) == (Theirs._fields, Theirs._field_defaults)
    assert copy.copy(ours) == ours
    assert type(pickle.loads(pickle.dumps(ours))) is Ours
    match ours:
        case Ours(name, port):
            assert (name, port) == ("a", 1)


def test_cannot_be_changed() -> None:
    """No field can be set, no other attribute made, and no unknown field replaced."""
    ours: Any = Ours("a")

    with pytest.raises(AttributeError):
        ours.port = 1
    with pytest.raises(AttributeError):
        ours.other = 1
    with pytest.raises(TypeError):
        ours._replace(wrong=1)
