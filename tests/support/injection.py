"""Lets one system call of a running process fail with an errno, by tracing it: ptrace(2), x86-64. Run as root.

The tracer is a process of its own (this file, run with the pid): to the parent of the traced process each stop would look
like its end. Must not import jvmbind.
"""

from __future__ import annotations

import collections
import ctypes
import json
import os
import signal
import subprocess
import sys
import threading
from typing import Any

ERRNOS = ("EMFILE", "ENFILE", "ENOMEM", "EAGAIN", "ENOSPC", "EIO", "EPIPE", "EINTR")
# Numbers of x86-64. Calls that cannot fail, or whose failure ends any program (rt_sigreturn), are left out.
CALLS = {
    "read": 0, "write": 1, "open": 2, "close": 3, "fstat": 5, "poll": 7, "lseek": 8, "mmap": 9, "brk": 12, "ioctl": 16,
    "pread64": 17, "sendto": 44, "recvfrom": 45, "sendmsg": 46, "recvmsg": 47, "socket": 41, "connect": 42, "bind": 49,
    "listen": 50, "getsockname": 51, "socketpair": 53, "setsockopt": 54, "getsockopt": 55, "clone": 56, "vfork": 58,
    "wait4": 61, "kill": 62, "fcntl": 72, "ftruncate": 77, "unlink": 87, "chmod": 90, "getdents64": 217, "waitid": 247,
    "openat": 257, "newfstatat": 262, "accept4": 288, "dup3": 292, "dup": 32, "dup2": 33, "pipe2": 293, "memfd_create": 319,
    "statx": 332, "pidfd_send_signal": 424, "pidfd_open": 434, "clone3": 435, "umask": 95, "readlink": 89,
}  # fmt: skip
_NAMES = {number: name for name, number in CALLS.items()}

_SEIZE, _SYSCALL, _GETREGS, _SETREGS, _INTERRUPT = 0x4206, 24, 12, 13, 0x4207
_O_TRACESYSGOOD = 1
_RAX, _ORIG_RAX = 10, 15  # struct user_regs_struct, in words


class Tracer:
    """Traces one process, and answers a call that was armed with an errno. Ended by `close`, or with the process."""

    def __init__(self, pid: int) -> None:
        """Attach; raises OSError where that fails."""
        self._process = subprocess.Popen(
            [sys.executable, "-I", __file__, str(pid)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        if self._say("state").get("traced") is not True:
            msg = f"process {pid} cannot be traced"
            raise OSError(msg)

    def _say(self, *words: object) -> dict[str, Any]:
        """Send a command and return the answer, {} where the tracer has ended."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(" ".join(map(str, words)) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            return {}
        line = self._process.stdout.readline()
        return dict(json.loads(line)) if line else {}

    def arm(self, call: str, error: int, nth: int = 1) -> None:
        """Let the nth `call` from now on fail with an errno."""
        self._say("arm", CALLS[call], error, nth)

    def disarm(self) -> bool:
        """Return whether the call has failed since it was armed; if not it will not."""
        return bool(self._say("disarm").get("injected"))

    def counts(self) -> dict[str, int]:
        """Return how often each call was made since the last question."""
        return dict(self._say("counts").get("counts", {}))

    def close(self) -> None:
        """Detach, by ending the tracer."""
        self._process.kill()
        self._process.communicate()


class _Tracing:
    """What the tracer's process does: one thread obeys, the main one traces, since ptrace is bound to a thread."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.counts: collections.Counter[str] = collections.Counter()
        self.armed: tuple[int, int, int] | None = None
        self.injected = False
        self.traced = threading.Event()
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]

    def obey(self) -> None:
        for line in sys.stdin:
            word, *numbers = line.split()
            answer: dict[str, object] = {}
            if word == "arm":
                first, second, third = map(int, numbers)
                self.injected, self.armed = False, (first, second, third)
            elif word == "disarm":
                self.armed = None
                answer = {"injected": self.injected}
            elif word == "counts":
                answer = {"counts": dict(self.counts)}
                self.counts.clear()
            else:
                answer = {"traced": self.traced.wait(20)}
            print(json.dumps(answer), flush=True)
        os._exit(0)

    def trace(self) -> None:
        registers = (ctypes.c_ulonglong * 27)()
        ptrace = self._libc.ptrace
        if ptrace(_SEIZE, self.pid, None, _O_TRACESYSGOOD) != 0 or ptrace(_INTERRUPT, self.pid, None, None) != 0:
            msg = f"ptrace: {os.strerror(ctypes.get_errno())}"
            raise OSError(msg)
        entry, pending = True, 0
        while True:
            _, status = os.waitpid(self.pid, 0x40000000)
            if not os.WIFSTOPPED(status):
                os._exit(0)
            number, passed = os.WSTOPSIG(status), 0
            if number == signal.SIGTRAP | 0x80:
                ptrace(_GETREGS, self.pid, None, ctypes.addressof(registers))
                if entry:
                    call = registers[_ORIG_RAX]
                    if call in _NAMES:
                        self.counts[_NAMES[call]] += 1
                    armed = self.armed
                    if armed is not None and call == armed[0] and armed[2] > 1:
                        self.armed = armed[0], armed[1], armed[2] - 1
                    elif armed is not None and call == armed[0]:
                        pending, self.armed = armed[1], None
                        registers[_ORIG_RAX] = 2**64 - 1  # no such call: the kernel does nothing
                        ptrace(_SETREGS, self.pid, None, ctypes.addressof(registers))
                elif pending:
                    registers[_RAX] = 2**64 - pending
                    ptrace(_SETREGS, self.pid, None, ctypes.addressof(registers))
                    pending = 0
                    self.injected = True
                entry = not entry
            elif status >> 16 == 0:
                passed = number
            self.traced.set()
            ptrace(_SYSCALL, self.pid, None, passed)


if __name__ == "__main__":
    tracing = _Tracing(int(sys.argv[1]))
    threading.Thread(target=tracing.obey, daemon=True).start()
    tracing.trace()
