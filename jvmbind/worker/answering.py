"""Who answers the notifications: a process while the JVM starts, a thread afterwards.

Runs in the worker. JPype holds the interpreter's lock during JNI_CreateJavaVM, and Java code already binds there (the
JMX agent, the debugger, a -javaagent): a Python thread could not answer it, and the JVM would wait for ever. So the first
answers come from a child made with CLONE_FILES: it has an interpreter lock of its own, and the descriptors of the
worker, so its dup2 is the worker's. The thread takes over with its state as soon as the JVM is up.
Neither is covered by the filter: a filter holds for the thread that installs it and all that this one starts.
Sources: clone(2), seccomp_unotify(2), pthread_sigmask(3).
"""

from __future__ import annotations

import _thread
import ctypes
import json
import os
import select
import signal
import struct
from typing import TYPE_CHECKING

import prctl

from jvmbind.errors import SystemFailureError
from jvmbind.posix import seccomp

if TYPE_CHECKING:
    from jvmbind.worker.handover import HandOver

_CLONE_FILES = 0x400
_LENGTH = struct.Struct("=I")


class Answering:
    """Answers the notifications of this worker, from `start` on."""

    def __init__(self, handover: HandOver, machine: seccomp.Machine, libc: ctypes.CDLL) -> None:
        """Prepare; nothing runs yet."""
        self._handover = handover
        self._machine = machine
        self._libc = libc
        self._notify = -1
        self._jvm_is_up = _thread.allocate_lock()
        self._child = 0
        self._stop = -1
        self._results = -1
        self._close: tuple[int, ...] = ()

    def start(self, program: bytes) -> None:
        """Start the process and the thread, then install the filter on the calling thread; raises SystemFailureError."""
        self._stop = os.eventfd(0, os.EFD_CLOEXEC)
        numbers, start = os.pipe()
        self._results, results = os.pipe()
        parent = os.getpid()
        self._child = int(self._libc.syscall(self._machine.clone, _CLONE_FILES | signal.SIGCHLD, 0, 0, 0, 0))
        if self._child == 0:
            self._be_the_child(parent, numbers, results)
        if self._child < 0:
            msg = f"cannot start the process that answers during the start of the JVM: {os.strerror(ctypes.get_errno())}"
            raise SystemFailureError(msg)
        self._jvm_is_up.acquire()
        _thread.start_new_thread(self._be_the_thread, ())
        try:
            self._notify = seccomp.install(program, self._libc)
        except SystemFailureError:
            os.kill(self._child, signal.SIGKILL)
            os.waitpid(self._child, 0)
            raise
        os.write(start, _LENGTH.pack(self._notify))
        self._close = (numbers, start, self._results, results, self._stop)

    def jvm_is_up(self) -> None:
        """Let the thread take over from the process; raises SystemFailureError where that died."""
        os.eventfd_write(self._stop, 1)
        data = self._read_result()
        os.waitpid(self._child, 0)
        for fd in self._close:
            os.close(fd)
        if data is None:
            msg = "the process that answered during the start of the JVM died"
            raise SystemFailureError(msg)
        self._handover.restore(json.loads(data))
        self._jvm_is_up.release()

    def _read_result(self) -> bytes | None:
        poll = select.poll()
        poll.register(self._results, select.POLLIN)
        pidfd = os.pidfd_open(self._child)
        poll.register(pidfd, select.POLLIN)
        data = b""
        try:
            while len(data) < _LENGTH.size or len(data) < _LENGTH.size + _LENGTH.unpack_from(data)[0]:
                ready = {fd for fd, _ in poll.poll()}
                if self._results in ready:
                    data += os.read(self._results, 65536)
                elif pidfd in ready:
                    return None
        finally:
            os.close(pidfd)
        return data[_LENGTH.size :]

    def _be_the_child(self, parent: int, numbers: int, results: int) -> None:
        """Answer until told to stop, then pass the state on; never returns. Descriptors are shared: close none."""
        try:
            signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
            prctl.set_pdeathsig(signal.SIGKILL)
            if os.getppid() != parent:
                os._exit(1)
            (notify,) = _LENGTH.unpack(os.read(numbers, _LENGTH.size))
            poll = select.poll()
            poll.register(notify, select.POLLIN)
            poll.register(self._stop, select.POLLIN)
            while True:
                ready = {fd for fd, _ in poll.poll()}
                if notify in ready:
                    _answer_one(notify, self._handover)
                elif self._stop in ready:
                    break
            state = json.dumps(self._handover.state()).encode()
            data = _LENGTH.pack(len(state)) + state
            while data:
                data = data[os.write(results, data) :]
            os._exit(0)
        finally:
            os._exit(1)

    def _be_the_thread(self) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        self._jvm_is_up.acquire()
        while True:
            _answer_one(self._notify, self._handover)


def _answer_one(notify: int, handover: HandOver) -> None:
    call = seccomp.receive(notify)
    if call is not None:
        answer = handover.answer(call)
        seccomp.send(notify, call.id, value=answer.value, error=answer.error, proceed=answer.proceed)
