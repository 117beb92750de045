"""The building blocks for a Python program that runs Java in its own process: bind, drop, start the JVM.

Runs in that program, with its privilege until `drop_permanently`. Call the three in this order, on the main thread, before
any other thread is started. Afterwards `import jpype` is fully usable, and Java code that binds a declared address is
handed the listener. Sources: clone(2), seccomp_unotify(2), prctl(2).
"""

from __future__ import annotations

import _thread
import contextlib
import ctypes
import locale
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import prctl

from jvmbind.config.arguments import check_texts, read_listeners
from jvmbind.errors import ConfigurationError, NotPermittedError, SystemFailureError, UsageError, printable
from jvmbind.posix import binding, seccomp
from jvmbind.posix.inherited import inherited_listeners, match_inherited
from jvmbind.posix.socket_options import as_bound
from jvmbind.posix.user import resolve_user
from jvmbind.root import drop
from jvmbind.spec import ListenSpec, UserSpec  # noqa: TC001 - typing.get_type_hints finds them
from jvmbind.wire import Message, Note, Tried
from jvmbind.worker import arguments
from jvmbind.worker.attendant import Attendant
from jvmbind.worker.handover import HandOver
from jvmbind.worker.java_home import find_java_home, libjvm
from jvmbind.worker.responder import Responder

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping, Sequence

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
    own a Unix socket. A number is a port. Raises ArgumentTypeError, UsageError, ConfigurationError, PortUnavailableError,
    NotPermittedError, SystemFailureError.
    """
    declared = read_listeners(listen)
    inherited = inherited_listeners(os.environ)
    specs, adopted = match_inherited(declared, inherited)
    owner = resolve_user(user) if user is not None else None
    return [Listener(spec, sock) for spec, sock in binding.bind_listeners(specs, adopted, owner)]


def drop_permanently(user: str | None = None) -> UserSpec:
    """Become `user` (USER, USER:GROUP or :GROUP; None is the caller) for good, with no capability, and prove it.

    HOME, USER, LOGNAME and SHELL of this process follow. Raises NotPermittedError when a step fails, when a doubt
    remains or when another thread runs, and the program must then end; ConfigurationError for a user that does not exist.
    """
    who = resolve_user(user)
    changes_user, dumpable = os.geteuid() == 0, prctl.get_dumpable()
    drop.drop_permanently(who.uid, who.gid, who.groups)
    if changes_user:
        os.environ.update({"HOME": who.home, "USER": who.name, "LOGNAME": who.name, "SHELL": who.shell})
    else:
        prctl.set_dumpable(dumpable)  # this program stays its user's own, with its JVM, which jcmd is to reach
    return who


def start_jvm(
    listeners: Sequence[Listener | tuple[ListenSpec, socket.socket]] = (),
    *,
    options: Sequence[str] = (),
    java_home: str | None = None,
    strict_binds: bool = False,
    inherit: str = "",
) -> None:
    """Start the JVM in this process and hand it a listener whenever Java code binds the address of one.

    `options` are those of the `java` command, such as "-cp", "lib/*", "-Xmx1g". `inherit` names the listener that
    System.inheritedChannel() gives, default the first. `strict_binds` refuses every other bind and listen, of Python code
    too. JPype is imported by this call and ready afterwards, as after jpype.startJVM.

    The JVM handles SIGTERM, SIGINT and SIGHUP: shutdown hooks run and the process ends with 128 plus the signal. With
    "-Xrs" among the options Python keeps these signals. JPype's shutdown hook stays: it makes proxies unusable and
    interrupts Java's non-daemon threads as soon as the shutdown begins, so stop a server before the program ends.

    Raises NotPermittedError where a privilege is left, JavaLaunchError where the JVM refuses, UsageError,
    ConfigurationError, SystemFailureError.
    """
    options = check_texts("options", options)
    _check_ready()
    pairs = [Listener(spec, sock) for spec, sock in listeners]
    names = [listener.spec.name for listener in pairs]
    if inherit and inherit not in names:
        msg = f"start_jvm: no listener {inherit!r}; expected one of {', '.join(names) or 'the listeners (there is none)'}"
        raise UsageError(msg)
    home = find_java_home(java_home, os.environ)
    feature = arguments.jdk_feature(Path(home))
    command = arguments.parse(options, os.environ, jdk_feature=feature, java_home=Path(home))
    if command.what is not None:
        msg = f"start_jvm: {command.what!r} in the options: expected options only (call main from Python once the JVM is up)"
        raise UsageError(msg)
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
    _create_jvm(library, vm_options)
    if responder is not None:
        responder.jvm_is_up()
        _thread.start_new_thread(_guard, (responder,))


def _check_ready() -> None:
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
