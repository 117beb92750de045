"""Tells the supervisor that the JVM still answers: a thread that calls into it once a second.

Runs in the worker, only where a heartbeat is asked for. The call returns only when the JVM lets a native thread in, so it
stops during a safepoint that never ends; a long collection stops it too, which is why the supervisor looks at the
processor time as well. Source: JNI specification, chapter 5 (AttachCurrentThreadAsDaemon).
"""

from __future__ import annotations

import time

from jvmbind.bare import signal
from jvmbind.wire import Heartbeat, Message
from jvmbind.worker.jni import Jni

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

_INTERVAL = 1.0  # seconds


def beat(libjvm: str, report: Callable[[Message], None]) -> NoReturn:
    """Run the thread's life; raises OSError or JavaError where the JVM cannot be entered at all."""
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    jni = Jni(libjvm, attach="jvmbind heartbeat")
    system = jni.find_class("java/lang/System")
    method = jni.call("GetStaticMethodID", system, b"nanoTime", b"()J")
    while True:
        jni.raw("CallStaticLongMethodA", system, method, None)
        report(Heartbeat())
        time.sleep(_INTERVAL)
