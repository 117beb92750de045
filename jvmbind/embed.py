"""The building blocks for a Python program that runs Java in its own process: bind, drop, start the JVM.

Runs in that program, with its privilege until `drop_permanently`. Call the three in this order, on the main thread, before
any other thread is started. Afterwards `import jpype` is fully usable, and Java code that binds a declared address is
handed the listener. Sources: clone(2), seccomp_unotify(2), prctl(2).
"""

from __future__ import annotations

import _thread
import contextlib
import ctypes
import importlib.util
import locale
import os
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import prctl

from jvmbind.config.arguments import check_texts, check_type, read_listeners, wrong_type
from jvmbind.errors import ArgumentValueError, ConfigurationError, NotPermittedError, SystemFailureError, printable
from jvmbind.handover.attendant import Attendant
from jvmbind.handover.binds import HandOver
from jvmbind.handover.responder import Responder
from jvmbind.plan.java import libraries
from jvmbind.plan.rights import as_user, check_readable
from jvmbind.posix import binding, seccomp
from jvmbind.posix.inherited import inherited_listeners, match_inherited
from jvmbind.posix.socket_options import as_bound
from jvmbind.posix.user import resolve_user
from jvmbind.root import drop
from jvmbind.spec import ListenSpec, UserSpec
from jvmbind.wire import Message, Note, Tried
from jvmbind.worker import arguments
from jvmbind.worker.java_home import find_java_home, libjvm

if TYPE_CHECKING:
    from collections.abc import Mapping

Signals = Literal["python", "java"]
"""Whose the signals are that end a program: see `start_jvm`."""

_NATIVE_ACCESS_WARNS = 24  # JEP 472: the first JDK that warns about System.load

_kept: list[Listener] = []  # the listeners stay open for the life of the process, whatever the program does


class Listener(NamedTuple):
    """A bound socket with its specification."""

    spec: ListenSpec
    socket: socket.socket


def bind_listeners(
    listen: Mapping[str, str | int] | Sequence[str | int | ListenSpec], *, user: str | None = None
) -> list[Listener]:
    """Bind the listeners, or adopt those that systemd (LISTEN_FDS) has passed; all of them or none.

    `listen` is a mapping of name -> listener, or listeners, each in the grammar of `jvmbind run --listen`. `user` will
    own a Unix socket. A number is a port. Raises ArgumentTypeError, ArgumentValueError, ConfigurationError,
    PortUnavailableError, NotPermittedError, SystemFailureError.
    """
    check_type("user", user, (str, type(None)), "USER, USER:GROUP or :GROUP, or None")
    declared = read_listeners(listen)
    inherited = inherited_listeners(os.environ)
    specs, adopted = match_inherited(declared, inherited)
    owner = resolve_user(user) if user is not None else None
    return [Listener(spec, sock) for spec, sock in binding.bind_listeners(specs, adopted, owner)]


def drop_permanently(user: str | None = None) -> UserSpec:
    """Become `user` (USER, USER:GROUP or :GROUP; None is the caller) for good, with no capability, and prove it.

    HOME, USER, LOGNAME and SHELL of this process follow. Raises NotPermittedError when a step fails, when a doubt
    remains or when another thread runs, and the program must then end; ArgumentTypeError; and ConfigurationError for a user
    that does not exist, or that cannot read this interpreter, what it loads later, jvmbind or JPype. Then nothing has been
    given up.
    """
    check_type("user", user, (str, type(None)), "USER, USER:GROUP or :GROUP, or None")
    who = resolve_user(user)
    changes_user, dumpable = os.geteuid() == 0, prctl.get_dumpable()
    if changes_user and len(os.listdir("/proc/self/task")) == 1:  # else the drop refuses
        _check_interpreter(who)
    drop.drop_permanently(who.uid, who.gid, who.groups)
    if changes_user:
        os.environ.update({"HOME": who.home, "USER": who.name, "LOGNAME": who.name, "SHELL": who.shell})
    else:
        prctl.set_dumpable(dumpable)  # this program stays its user's own, with its JVM, which jcmd is to reach
    return who


def _check_interpreter(who: UserSpec) -> None:
    """Find out with the rights of `who` what will be wanted after the drop; raises ConfigurationError with the path."""
    jpype = importlib.util.find_spec("_jpype")
    paths = [
        *(("interpreter", path, os.X_OK) for path in (sys.executable, os.path.realpath(sys.executable)) if sys.executable),
        *(("interpreter's library", path, os.R_OK) for path in libraries()),
        ("package", os.path.dirname(os.path.abspath(__file__)), os.R_OK | os.X_OK),
        *(("JPype", path, os.R_OK) for path in (jpype.origin if jpype else None,) if path),
    ]

    def ask() -> str:
        check_readable(who, paths)
        return ""

    as_user(who, ask, changes_user=True)


def start_jvm(
    listeners: Sequence[Listener | tuple[ListenSpec, socket.socket]] = (),
    *,
    options: Sequence[str] = (),
    java_home: str | os.PathLike[str] | None = None,
    strict_binds: bool = False,
    inherit: str = "",
    signals: Signals = "python",
) -> None:
    """Start the JVM in this process and hand it a listener whenever Java code binds the address of one.

    `options` are those of the `java` command, such as "-cp", "lib/*", "-Xmx1g". `inherit` names the listener that
    System.inheritedChannel() gives, default the first. `strict_binds` refuses every other bind and listen, of Python code
    too. JPype is imported by this call and ready afterwards, as after jpype.startJVM.

    `signals` says whose SIGINT, SIGTERM, SIGHUP and SIGQUIT are. With "python" they do what they do in this program without a
    JVM ("-Xrs"): Ctrl-C is KeyboardInterrupt, also while the main thread waits in Java, and handlers of the signal module
    run. With "java" the JVM handles them: shutdown hooks run, the process ends with 128 plus the signal, and neither atexit
    nor `finally` of Python is run.

    sys.exit, an exception and the end of the program run what atexit has, the last first, and before what was registered
    earlier than this call Java's shutdown hooks; no thread of Java's is waited for. JPype's own hook makes proxies unusable
    and interrupts Java's threads, so let atexit or `finally` stop a server whose requests are to be finished.

    Raises ArgumentTypeError and ArgumentValueError, NotPermittedError where a privilege is left, JavaLaunchError where the
    JVM refuses, ConfigurationError, SystemFailureError.
    """
    options = check_texts("options", options)
    pairs = _check_pairs(listeners)
    check_type("java_home", java_home, (str, os.PathLike, type(None)), "the path of a Java runtime, or None")
    check_type("strict_binds", strict_binds, bool, "True or False")
    check_type("inherit", inherit, str, "the name of a listener")
    check_type("signals", signals, str, "'python' or 'java'")
    names = [listener.spec.name for listener in pairs]
    if inherit and inherit not in names:
        msg = f"inherit: no listener {inherit!r}; expected one of {', '.join(names) or 'the listeners (there is none)'}"
        raise ArgumentValueError(msg, "inherit")
    if signals not in {"python", "java"}:
        msg = f"signals: expected 'python' or 'java', got {signals!r}"
        raise ArgumentValueError(msg, "signals")
    if signals == "java" and "-Xrs" in options:
        msg = "signals: got 'java' with -Xrs among the options, which leaves signals to Python; expected one of the two"
        raise ArgumentValueError(msg, "signals")
    _check_ready()
    home = find_java_home(None if java_home is None else os.fspath(java_home), os.environ)
    feature = arguments.jdk_feature(Path(home))
    command = arguments.parse(options, os.environ, jdk_feature=feature, java_home=Path(home))
    if command.what is not None:
        msg = f"options: {command.what!r} is none: expected options only (call main from Python once the JVM is up)"
        raise ArgumentValueError(msg, "options")
    library = libjvm(home, command.vm)
    if not os.path.isfile(library):
        msg = f"start_jvm: {library} is missing; expected a Java runtime"
        raise ConfigurationError(msg)
    prctl.set_no_new_privs(1)
    _kept.extend(pairs)
    responder = _start_responder(pairs, strict=strict_binds, inherit=inherit) if pairs or strict_binds else None
    if responder is None:
        seccomp.refuse(ctypes.CDLL(None, use_errno=True))
    vm_options = list(command.options)
    if feature >= _NATIVE_ACCESS_WARNS and not any(o.startswith("--enable-native-access=") for o in vm_options):
        vm_options.insert(0, "--enable-native-access=ALL-UNNAMED")
    if signals == "python" and "-Xrs" not in vm_options:
        vm_options.insert(0, "-Xrs")
    _create_jvm(library, vm_options)
    from jvmbind import ending  # noqa: PLC0415 - it imports JPype

    ending.end_as_python(library)
    if "-Xrs" in vm_options:
        ending.interrupt_java_on_signals()
    if responder is not None:
        responder.jvm_is_up()
        _thread.start_new_thread(_guard, (responder,))


def _check_pairs(listeners: object) -> list[Listener]:
    if isinstance(listeners, str | bytes) or not isinstance(listeners, Sequence):
        raise wrong_type("listeners", "a sequence of listeners, as bind_listeners returns", listeners)
    for place, one in enumerate(listeners):
        pair = tuple(one) if isinstance(one, Sequence) and not isinstance(one, str | bytes) else ()
        if len(pair) != 2 or not isinstance(pair[0], ListenSpec) or not isinstance(pair[1], socket.socket):
            raise wrong_type(f"listeners[{place}]", "a ListenSpec and its socket", one)
        if pair[1].fileno() < 0:
            msg = f"listeners[{place}]: the socket of {pair[0].name!r} is closed; expected it open"
            raise ArgumentValueError(msg, f"listeners[{place}]")
    return [Listener(spec, sock) for spec, sock in listeners]


def _check_ready() -> None:
    if "jvmbind.worker.jvm" in sys.modules:
        msg = "start_jvm: called before; expected one call in the life of a process"
        raise SystemFailureError(msg)
    if os.getpid() != _thread.get_native_id() or len(os.listdir("/proc/self/task")) != 1:
        msg = "start_jvm: expected a call on the main thread before any other thread is started (a filter covers only what follows)"
        raise SystemFailureError(msg)
    thread = drop.credentials()[0]
    left = [name for name in ("CapInh", "CapPrm", "CapEff", "CapAmb") if thread.capabilities[name]]
    if 0 in thread.uids or left:
        what = "root" if 0 in thread.uids else "a process with capabilities"
        msg = f"start_jvm: this is {what}; expected jvmbind.drop_permanently(USER) before"
        raise NotPermittedError(msg)


def _create_jvm(library: str, options: list[str]) -> None:
    before = locale.setlocale(locale.LC_ALL)
    from jvmbind.worker import jvm  # noqa: PLC0415 - JPype is loaded after the filter is in place

    jvm.start_with_jpype(library, options)
    # What jpype.startJVM does after the start; start_with_jpype has imported it.
    sys.modules["jpype"]._core.initializeResources()  # noqa: SLF001
    with contextlib.suppress(locale.Error):
        locale.setlocale(locale.LC_ALL, before)  # the JVM sets the locale of the environment, as `java` does
    # The JVM ends the process by exit(3) after a signal or System.exit, and the destructors of Python and JPype crash
    # while Java's threads still run: flush, then _exit. Handlers run last registered first. on_exit(3).
    libc = ctypes.CDLL(None)
    libc.on_exit(ctypes.cast(libc["_exit"], ctypes.c_void_p), None)
    libc["__cxa_atexit"](ctypes.cast(libc.fflush, ctypes.c_void_p), None, None)


def _start_responder(pairs: Sequence[Listener], *, strict: bool, inherit: str) -> Responder:
    """Start the process that answers, and the filter. One of each for the life of the program."""
    libc = ctypes.CDLL(None, use_errno=True)
    machine = seccomp.this_machine()
    specs = [one.spec._replace(options=as_bound(one.socket.fileno(), one.spec)) for one in pairs]
    pid, memory = os.getpid(), _own_memory()
    handover = HandOver(
        specs,
        [listener.socket.fileno() for listener in pairs],
        machine,
        memory=memory,
        pid=pid,
        libc=libc,
        strict=strict,
        inherit=inherit,
        parked=False,
        closed=prctl.get_dumpable() != 1,
        report=_report,
    )
    attendant = Attendant(handover, specs, -1, memory=memory, pid=pid, pipes=None, report=_report)
    responder = Responder(lambda: attendant, libc, _report, obeys=False)
    responder.start(seccomp.filter_program(machine, strict=strict))
    return responder


def _guard(responder: Responder) -> None:
    """Without the responder a bind would wait for ever: closing the notifications makes it fail (ENOSYS)."""
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    how = responder.wait_for_its_end()
    os.close(responder.notify)
    _report(Note(f"the process that answers Java's binds {how}; no listener is handed over any more"))


def _own_memory() -> int:
    """Open this process's memory for reading. After a change of ids /proc/self belongs to root until dumpable is set."""
    before = prctl.get_dumpable()
    prctl.set_dumpable(1)
    try:
        return os.open("/proc/self/mem", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        prctl.set_dumpable(before)


def _report(message: Message) -> None:
    if isinstance(message, Note) or (isinstance(message, Tried) and ": " in message.text):
        what = "bind of " if isinstance(message, Tried) else ""
        os.write(2, f"jvmbind: {what}{printable(message.text)}\n".encode("utf-8", "replace"))
