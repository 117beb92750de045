"""Named tuples and `assert_never`, as `typing` has them, without `typing`.

Used by every role as any user; pure. `typing` and what it imports take 1.6 MiB in each process of a service and are most
of what a worker would load before its JVM; each class of `collections.namedtuple` is text that is compiled. To a type checker these
classes are those of `typing`. For the same reason no module that such a process loads imports `typing` to ask for
TYPE_CHECKING: a checker takes a variable of that name for true (mypy and pyright alike).
"""

from __future__ import annotations

from _operator import itemgetter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NamedTuple as NamedTuple  # noqa: PLC0414 - so it is exported
    from typing import NoReturn
    from typing import assert_never as assert_never  # noqa: PLC0414
else:

    def assert_never(value: object) -> NoReturn:
        """Raise AssertionError: to a type checker no `value` is left that could come here."""
        raise AssertionError(value)

    class _Fields(type):
        """Turns the annotations of a class into its fields, and the values beside them into their defaults."""

        def __new__(cls, name: str, bases: tuple[type, ...], namespace: dict[str, object]) -> type:
            fields = tuple(namespace.get("__annotations__", ()))
            defaults = {field: namespace.pop(field) for field in fields if field in namespace}
            for position, field in enumerate(fields):
                namespace[field] = property(itemgetter(position))
            namespace |= {"__slots__": (), "__match_args__": fields, "_fields": fields, "_field_defaults": defaults}
            return super().__new__(cls, name, bases, namespace)

    class NamedTuple(tuple, metaclass=_Fields):  # noqa: SLOT001 - the metaclass sees to that
        """The base of a named tuple, which has no base of its own."""

        def __new__(cls, *values: object, **named: object) -> NamedTuple:  # noqa: PYI034 - Self is of typing
            """Make one; raises TypeError as a call of a function with these parameters would."""
            if named or len(values) != len(cls._fields):
                values = _completed(cls, values, named)
            return tuple.__new__(cls, values)

        def __repr__(self) -> str:
            """Return the call that makes an equal one."""
            values = ", ".join(f"{name}={value!r}" for name, value in zip(self._fields, self, strict=True))
            return f"{type(self).__name__}({values})"

        def __getnewargs__(self) -> tuple[object, ...]:
            """Let a copy be made by the same call: copy, pickle."""
            return tuple(self)

        def _replace(self, **named: object) -> NamedTuple:
            """Return a copy with other values in the named fields; raises TypeError where there is no such field."""
            return type(self)(**{**self._asdict(), **named})

        def _asdict(self) -> dict[str, object]:
            """Return the values by their names."""
            return dict(zip(self._fields, self, strict=True))

    def _completed(cls: type, values: tuple[object, ...], named: dict[str, object]) -> list[object]:
        """Return a value for each field: those given in order, those by name, the defaults."""
        given = dict(zip(cls._fields, values, strict=False))
        wrong = [name for name in named if name in given or name not in cls._fields]
        every = {**cls._field_defaults, **given, **named}
        missing = [name for name in cls._fields if name not in every]
        if wrong or missing or len(values) > len(cls._fields):
            raise TypeError(cls, values, named)
        return [every[name] for name in cls._fields]
