"""The words of an argument file, as libjli's args.c of JDK 17 to 25 finds them.

Runs in the worker and in the command line's checks, as any user, where a command line has such a file; must not import
jpype. A line that looks strange here (a comment sign eats the characters before it, a NUL ends a word) is what `java` does,
and tests compare it with the real one.
"""

from __future__ import annotations

import errno
import os
import re
from enum import Enum, auto

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# libjli reads argument files in pieces of this size, and a comment sign that begins a piece behaves differently
# from one in the middle of it (it then keeps what was before it), so the size is part of the behaviour.
_PIECE = 4096

_BLANKS = re.compile(rb"[ \n\r\t\f]*")
_LINE_END = re.compile(rb"[\n\r]")
_SPECIAL = re.compile(rb"[ \n\r\t\f#\\'\"]")
_ESCAPES = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"f": b"\f"}


class _State(Enum):
    FIND_NEXT = auto()
    IN_COMMENT = auto()
    IN_QUOTE = auto()
    IN_ESCAPE = auto()
    SKIP_LEADING = auto()
    IN_TOKEN = auto()


class _Tokens:
    """The words of an argument file; state is kept from one piece of the file to the next."""

    def __init__(self) -> None:
        self.state = _State.FIND_NEXT
        self.parts: list[bytes] = []
        self.quote = b'"'

    def _word(self, last: bytes) -> bytes:
        # C strings: each part ends at its first NUL.
        word = b"".join(part.partition(b"\0")[0] for part in (*self.parts, last))
        self.parts = []
        self.state = _State.FIND_NEXT
        return word

    def feed(self, piece: bytes) -> Iterator[bytes]:  # noqa: C901 - the launcher's state table, state by state
        """Yield each word that ends within this piece."""
        here = anchor = 0
        end = len(piece)
        while here < end:
            if self.state in (_State.FIND_NEXT, _State.SKIP_LEADING):
                blanks = _BLANKS.match(piece, here)
                here = blanks.end() if blanks else here
                if here >= end:
                    return
                self.state = _State.IN_TOKEN if self.state is _State.FIND_NEXT else _State.IN_QUOTE
                anchor = here
            elif self.state is _State.IN_ESCAPE:
                escaped = piece[here : here + 1]
                if escaped in (b"\n", b"\r"):
                    self.state = _State.SKIP_LEADING
                else:
                    self.parts.append(_ESCAPES.get(escaped, escaped))
                    self.state = _State.IN_QUOTE
                here += 1
                anchor = here
                continue
            elif self.state is _State.IN_COMMENT:
                line_end = _LINE_END.search(piece, here)
                if line_end is None:
                    return
                here = anchor = line_end.end()
                self.state = _State.FIND_NEXT
                continue
            found = _SPECIAL.search(piece, here)
            if found is None:
                here = end
                break
            here = found.start()
            special = found.group()
            quoted = self.state is _State.IN_QUOTE
            if special in b"\n\r" or (special in b" \t\f" and not quoted):
                # A line end closes an open quote too.
                yield self._word(piece[anchor:here])
                anchor = here + 1
            elif special == b"#" and not quoted:
                # What stood before it in this word and this piece is dropped.
                self.state = _State.IN_COMMENT
                anchor = here + 1
            elif special == b"\\" and quoted:
                self.parts.append(piece[anchor:here])
                self.state = _State.IN_ESCAPE
                anchor = here + 1
            elif special in b"'\"" and (not quoted or special == self.quote):
                if anchor != here:
                    self.parts.append(piece[anchor:here])
                anchor = here + 1
                if quoted:
                    self.state = _State.IN_TOKEN
                else:
                    self.quote = special
                    self.state = _State.IN_QUOTE
            here += 1
        if self.state in (_State.IN_TOKEN, _State.IN_QUOTE) and anchor < here:
            self.parts.append(piece[anchor:here])

    def finish(self) -> Iterator[bytes]:
        """Yield the word that the end of the file ends; an empty one is not a word."""
        if self.state in (_State.IN_TOKEN, _State.IN_QUOTE) and self.parts:
            yield self._word(b"")


def pieces_of(fd: int, most: int) -> Iterator[bytes]:
    """Yield the file in full pieces, as fread(3) gives them, also from a pipe; raises OSError for one without an end."""
    rest, left = b"", most
    while data := os.read(fd, 1 << 16):
        rest, left = rest + data, left - len(data)
        if left < 0:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
        while len(rest) >= _PIECE:
            yield rest[:_PIECE]
            rest = rest[_PIECE:]
    if rest:
        yield rest


def split_argfile(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the words of an argument file, given as the pieces in which it was read."""
    tokens = _Tokens()
    for piece in pieces:
        yield from tokens.feed(piece)
    yield from tokens.finish()
