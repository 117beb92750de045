"""Who attends to the application: a process while the JVM starts, a thread afterwards.

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
    from jvmbind.worker.attendant import Attendant

_CLONE_FILES = 0x400
_LENGTH = struct.Struct("=i")


class Answering:
    """Runs an attendant from `start` on. Without a filter (`program` is None) it only obeys the supervisor."""

    def __init__(self, attendant: Attendant, libc: ctypes.CDLL) -> None:
        """Prepare; nothing runs yet."""
        self._attendant = attendant
        self._libc = libc
        self._jvm_is_up = _thread.allocate_lock()
        self._child = 0
        self._stop = -1
        self._results = -1
        self._close: tuple[int, ...] = ()

    def start_thread(self) -> None:
        """Start the thread alone: there is no filter, so nothing to answer. Call `jvm_is_up` all the same."""
        self._jvm_is_up.acquire()
        _thread.start_new_thread(self._be_the_thread, ())

    def start(self, program: bytes, machine: seccomp.Machine) -> None:
        """Start the process and the thread, then install the filter on the calling thread.

        Raises SystemFailureError, and then only the thread runs.
        """
        self._stop = os.eventfd(0, os.EFD_CLOEXEC)
        numbers, start = os.pipe()
        self._results, results = os.pipe()
        self._close = (numbers, start, self._results, results, self._stop)
        parent = os.getpid()
        child = int(self._libc.syscall(machine.clone, _CLONE_FILES | signal.SIGCHLD, 0, 0, 0, 0))
        if child == 0:
            self._be_the_child(parent, numbers, results)
        self.start_thread()
        if child < 0:
            msg = f"cannot start the process that answers during the start of the JVM: {os.strerror(ctypes.get_errno())}"
            raise SystemFailureError(msg)
        try:
            self._attendant.notify = seccomp.install(program, self._libc)
        except SystemFailureError:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            raise
        self._child = child
        os.write(start, _LENGTH.pack(self._attendant.notify))

    def jvm_is_up(self) -> None:
        """Let the thread take over from the process; raises SystemFailureError where that died."""
        if self._child:
            os.eventfd_write(self._stop, 1)
            data = self._read_result()
            os.waitpid(self._child, 0)
            if data is None:
                msg = "the process that answered during the start of the JVM died"
                raise SystemFailureError(msg)
            self._attendant.restore(json.loads(data))
        for fd in self._close:
            os.close(fd)
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
        """Attend until told to stop, then pass the state on; never returns. Descriptors are shared: close none."""
        try:
            signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
            prctl.set_pdeathsig(signal.SIGKILL)
            if os.getppid() != parent:
                os._exit(1)
            (self._attendant.notify,) = _LENGTH.unpack(os.read(numbers, _LENGTH.size))
            self._attendant.run(self._stop, jvm_is_up=False)
            state = json.dumps(self._attendant.state()).encode()
            data = _LENGTH.pack(len(state)) + state
            while data:
                data = data[os.write(results, data) :]
            os._exit(0)
        finally:
            os._exit(1)

    def _be_the_thread(self) -> None:
        prctl.set_name("jvmbind")  # of this thread alone, for `ps -T`
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        self._jvm_is_up.acquire()
        self._attendant.run()
