"""A stage for the hand-over: the real filter, the real kernel, a thread in the part of the application. No JVM.

The main thread answers, as no filter covers it. The application's thread installs the filter on itself, which holds for
it and for all that it starts, and then plays its part. Runs in a child process of pytest's (see conftest.py).
"""

from __future__ import annotations

import ctypes
import os
import select
import socket
import struct
import threading
import time
from typing import TYPE_CHECKING, Any

import prctl

from jvmbind.handover.binds import HandOver
from jvmbind.listen import further_sockets, number_names
from jvmbind.posix import seccomp
from jvmbind.posix.binding import bind_listeners
from jvmbind.posix.socket_options import as_bound
from jvmbind.spec import parse_listen
from jvmbind.wire import Claimed, Listening, Note, Tried

if TYPE_CHECKING:
    from collections.abc import Callable

_TCP_INFO_LIMIT = 28  # tcpi_sacked, the queue's limit on a listening socket: linux/tcp.h, tcp_get_info


class Stage:
    """Listeners, the hand-over, and what it reported."""

    def __init__(self, listeners: str = "", *, strict: bool = False, inherit: str = "", parked: bool = False) -> None:
        """Bind the listeners (texts separated by blanks) and prepare; the application is not on yet."""
        prctl.set_no_new_privs(1)
        self.libc = ctypes.CDLL(None, use_errno=True)
        declared = number_names([parse_listen(text) for text in listeners.split()])
        self.listeners = bind_listeners((*declared, *further_sockets(declared)))
        self.specs = [spec._replace(options=as_bound(sock.fileno(), spec)) for spec, sock in self.listeners]
        self.sockets = [sock for _, sock in self.listeners]
        self.inodes = [os.fstat(sock.fileno()).st_ino for sock in self.sockets]
        self.reports: list[Any] = []
        self.strict = strict
        self.before_answer: Callable[[seccomp.Notification], None] = lambda _: None
        self.thread = 0
        machine = seccomp.this_machine()
        self.handover = HandOver(
            self.specs,
            [sock.fileno() for sock in self.sockets],
            machine,
            memory=os.open("/proc/self/mem", os.O_RDONLY | os.O_CLOEXEC),
            pid=os.getpid(),
            libc=self.libc,
            strict=strict,
            inherit=inherit,
            parked=parked,
            report=self.reports.append,
        )
        self.handover.jvm_is_up()
        # The responder has one thread; here the application's part drains by itself while the main thread settles a bind.
        settle, turn = self.handover.given.settle, threading.Lock()

        def settle_in_turn() -> None:
            with turn:
                settle()

        self.handover.given.settle = settle_in_turn  # type: ignore[method-assign]
        self.waiting: list[seccomp.Notification] = []
        self._program = seccomp.filter_program(machine, strict=strict)
        self._notify = -1
        self._failure: BaseException | None = None

    def play(self, application: Callable[[], None], *, at_rest: Callable[[], bool] = lambda: False) -> None:
        """Run the application's part and answer until it has ended; raises what it raised.

        `at_rest` is called while nothing is asked, in the answering thread; once it returns True waiting calls are answered.
        """
        ready = threading.Event()

        def run() -> None:
            try:
                self._notify = seccomp.install(self._program, self.libc)
                self.thread = threading.get_ident()
                ready.set()
                application()
            except BaseException as error:  # noqa: BLE001 - raised again in the main thread
                self._failure = error
                ready.set()

        thread = threading.Thread(target=run)
        thread.start()
        ready.wait(20)
        deadline = time.monotonic() + 40
        while thread.is_alive():
            assert time.monotonic() < deadline, "the application's part hangs"
            if select.select([self._notify], [], [], 0.01)[0]:
                call = seccomp.receive(self._notify)
                if call is not None:
                    self.before_answer(call)
                    self._answer(call)
            elif at_rest():
                waiting, self.waiting = self.waiting, []
                for call in waiting:
                    self._answer(call)
        if self._failure is not None:
            raise self._failure

    def _answer(self, call: seccomp.Notification) -> None:
        answer = self.handover.answer(call)
        if answer is None:
            self.waiting.append(call)
        else:
            seccomp.send(self._notify, call.id, value=answer.value, error=answer.error, proceed=answer.proceed)
            if self.handover.given.unsettled:
                self.handover.reserve.use(self.handover.given.settle)

    def is_listener(self, fd: int, index: int = 0) -> bool:
        """Tell whether a descriptor of the application is the listener itself, or a further socket of it."""
        name = self.specs[index].name
        return any(
            os.fstat(fd).st_ino == inode
            for spec, inode in zip(self.specs, self.inodes, strict=True)
            if name in {spec.name, spec.of}
        )

    def said(self, kind: type) -> list[Any]:
        """Return the reports of one kind."""
        return [report for report in self.reports if isinstance(report, kind)]

    @property
    def claimed(self) -> list[int]:
        """The listeners that were reported as claimed, in order."""
        return [report.listener for report in self.said(Claimed)]

    @property
    def listening(self) -> list[int]:
        """The listeners on which the application listened, in order."""
        return [report.listener for report in self.said(Listening)]

    @property
    def tried(self) -> list[str]:
        """What the application tried."""
        return [report.text for report in self.said(Tried)]

    @property
    def notes(self) -> list[str]:
        """What would be in the log."""
        return [report.text for report in self.said(Note)]

    def call(self, name: str, *arguments: Any) -> int:
        """Call a C function; OSError where it returns -1."""
        result = int(self.libc[name](*arguments))
        if result == -1:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        return result


def queue_limit(sock: socket.socket) -> int:
    """Return the limit of the accept queue of a listening TCP socket."""
    info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
    return int(struct.unpack_from("=I", info, _TCP_INFO_LIMIT)[0])
