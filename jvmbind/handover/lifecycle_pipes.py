"""The two pipes to dev.jvmbind.ServiceLifecycle: lines of text, each way.

Runs in the worker. Java opens them through /proc/self/fd, so that the shim needs nothing but files.
"""

from __future__ import annotations

import os

from jvmbind.wire import Message, Notified, Status

_LINE_MAX = 1024


class LifecyclePipes:
    """What the application says and what it is told.

    It says `READY`, `STATUS text`, `CALLBACKS` once it has one, and `DRAINED` when those for a drain have returned; it is told
    `DRAIN`, once in its life, and `RELOAD`.
    """

    def __init__(self) -> None:
        """Open both; the ends of Java are numbers in system properties. Raises OSError."""
        self.from_java, self.java_out = os.pipe()
        self.java_in, self._to_java = os.pipe()
        for fd in (self.from_java, self._to_java):
            os.set_blocking(fd, False)
        self._rest = b""
        self._has_callbacks = self._drains = self._drained = False

    @property
    def callbacks(self) -> bool:
        """Whether the application has callbacks for a drain that have not all returned, or were not called yet."""
        return self._has_callbacks and not self._drained

    def read(self) -> list[Message]:
        """Return what the application has said since the last call: at most that it is ready, and its last status.

        An application that never stops talking would else keep the responder from everything else: the supervisor reads at
        a bounded rate, and what is said to it waits for that.
        """
        try:
            self._rest += os.read(self.from_java, 65536)
        except BlockingIOError:
            return []
        *lines, self._rest = self._rest.split(b"\n")
        self._rest = self._rest[:_LINE_MAX]
        found: dict[str, Message] = {}
        for line in lines:
            word, _, text = line[:_LINE_MAX].decode("utf-8", "replace").partition(" ")
            if word == "READY":
                found[word] = Notified()
            elif word == "STATUS":
                found[word] = Status(text)
            elif word == "CALLBACKS":
                self._has_callbacks = True
            elif word == "DRAINED":
                self._drained = self._drains
        return list(found.values())

    def drain(self) -> None:
        """Tell the application that it is to end once its clients are served."""
        if not self._drains:
            self._drains = True
            self._tell("DRAIN")

    def reload(self) -> None:
        """Tell the application that a reload begins."""
        self._tell("RELOAD")

    def _tell(self, word: str) -> None:
        """Tell the application; a reader that never reads, or has closed its end, is not waited for."""
        try:
            os.write(self._to_java, f"{word}\n".encode())
        except (BlockingIOError, BrokenPipeError):
            return
