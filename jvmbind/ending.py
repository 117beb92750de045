"""How a Python program with a JVM in its own process ends: signals, sys.exit and atexit, fork.

Runs in a program that embeds a JVM (see `embed`), after the drop, as its user. Python's own rules hold: a signal handler of
Python runs on the main thread between two bytecodes, which never comes while that thread waits in Java; and what is done at
exit must not wait for a server's threads, as DestroyJavaVM does. Sources: signal(7), Python's signal and atexit, the JNI
specification (chapter 5), java.lang.Shutdown of the JDK.
"""

from __future__ import annotations

import _thread
import atexit
import contextlib
import ctypes
import os
import select
import signal
import time
from typing import TYPE_CHECKING

from jvmbind.worker import jvm
from jvmbind.worker.jni import JavaError, Jni, values_of

if TYPE_CHECKING:
    from typing import Any

_ENTERS = 0.05  # seconds, for a main thread that was about to begin to wait in Java when the signal came
_AGAIN = 1  # milliseconds between two looks meanwhile

_ran: list[None] = []  # one for each time that the main thread has run bytecode after a signal


def _has_run(_: object) -> int:
    _ran.append(None)
    return 0


_note = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_void_p)(_has_run)


def end_as_python(library: str) -> None:
    """At exit, after the handlers that are registered later, run Java's shutdown hooks; wait for no thread of Java's.

    A forked child has no JVM: at its exit nothing of this is done. `library` is libjvm's path.
    """
    pid = os.getpid()

    def end() -> None:
        if os.getpid() == pid and jvm.is_to_end():
            _run_shutdown_hooks(library)

    atexit.register(end)
    os.register_at_fork(after_in_child=jvm.leave_alone)


def _run_shutdown_hooks(library: str) -> None:
    """Do what DestroyJavaVM does, without its wait for Java's threads where one is left that is no daemon."""
    try:
        jni = Jni(library)
        jni.static("Void", jni.find_class("java/lang/Shutdown"), "shutdown", "()V")
        if _user_threads(jni) > 1:  # this one is the first
            jvm.do_not_destroy()
    except (JavaError, OSError):
        jvm.do_not_destroy()


def _user_threads(jni: Jni) -> int:
    """Return how many threads of Java's are no daemons; raises JavaError."""
    kind = jni.find_class("java/lang/Thread")
    is_daemon = jni.call("GetMethodID", kind, b"isDaemon", b"()Z")
    threads = jni.static("Object", kind, "getThreads", "()[Ljava/lang/Thread;")
    each = [jni.call("GetObjectArrayElement", threads, at) for at in range(jni.call("GetArrayLength", threads))]
    return sum(not jni.call("CallBooleanMethodA", one, is_daemon, values_of(())) for one in each if one)


def interrupt_java_on_signals() -> None:
    """Where a handler of Python's is to run while the main thread waits in Java, let Thread.interrupt end the wait.

    JPype then runs the handler before anything else, so that Ctrl-C is KeyboardInterrupt. Call it on the main thread. A
    program that has set_wakeup_fd keeps its own, and its waits in Java are not ended.
    """
    reader, writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    if before != -1:
        signal.set_wakeup_fd(before)
        os.close(reader)
        os.close(writer)
        return
    os.register_at_fork(after_in_child=lambda: _forget_wakeup(writer))
    _thread.start_new_thread(_watch, (reader, jvm.this_thread()))


def _forget_wakeup(writer: int) -> None:
    """In a forked child: the pipe is shared, and a signal of the child's is none of the parent's."""
    before = signal.set_wakeup_fd(-1)  # the thread that forked is the child's main thread
    if before not in {-1, writer}:
        signal.set_wakeup_fd(before)


def _watch(reader: int, main: Any) -> None:  # noqa: ANN401 - a java.lang.Thread
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    poll = select.poll()
    poll.register(reader, select.POLLIN)
    while True:
        poll.poll()
        with contextlib.suppress(BlockingIOError):
            os.read(reader, 512)
        try:
            _interrupt(main)
        except Exception:  # noqa: BLE001 - the JVM or the interpreter ends
            return


def _interrupt(main: Any) -> None:  # noqa: ANN401 - a java.lang.Thread
    """Interrupt the main thread if it waits in Java: an interrupt that meets no wait would end a later one."""
    ran = len(_ran)
    ctypes.pythonapi.Py_AddPendingCall(_note, None)  # runs on the main thread, after the handlers of signals
    end = time.monotonic() + _ENTERS
    while len(_ran) == ran and time.monotonic() < end:
        if str(main.getState()) in {"WAITING", "TIMED_WAITING"}:
            main.interrupt()
            return
        time.sleep(_AGAIN / 1000)
