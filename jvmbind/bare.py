"""`signal` and `socket` of the standard library without their enumerations: what they are made of.

Used by every role as any user. The module `signal` puts names to numbers, and `socket` adds files and selectors: both import
`enum`, which costs more than they are worth where a program names a number and calls the kernel. Numbers are plain here,
and a socket is the object that has the calls of socket(7), without `with`, `accept` or `dup`.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket as socket
    import signal
else:
    import _signal as signal
    import _socket as socket

__all__ = ["signal", "socket"]
