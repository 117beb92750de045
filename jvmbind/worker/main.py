"""Being `java`: takes the listeners, starts the JVM, runs the application's main.

Run by exec from the supervisor, or from the launcher with --direct, as the service user with no privilege. The
environment says how it was started (see `jvmbind.posix.role`); everything else comes from the specification.
"""

from __future__ import annotations

import _thread
import ctypes
import os

import prctl

from jvmbind.bare import signal, socket
from jvmbind.errors import EX_OSERR, JavaLaunchError, JvmbindError, SystemFailureError
from jvmbind.handover.lifecycle_pipes import LifecyclePipes
from jvmbind.handover.responder import Responder
from jvmbind.posix import landlock, seccomp
from jvmbind.posix.role import Role, take_role
from jvmbind.shim import SHIM_JAR
from jvmbind.spec import ServiceSpec, is_wildcard
from jvmbind.wire import Claimed, Main, Message, Note, ResponderStarted, Tried, encode
from jvmbind.worker import arguments
from jvmbind.worker.java_home import libjvm

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

    from jvmbind.handover.attendant import Attendant
    from jvmbind.spec import ListenSpec

_PYTHON_FRAMES = 16 * 1024  # stack that Python and JPype use below Java's first frame, in bytes
_LC_ALL = 6  # locale.h of glibc and musl


def main(role: Role | None = None) -> NoReturn:
    """Run the worker, in the role that its starter announced where none is given.

    Ends the process with Java's status, or with that of a JvmbindError.
    """
    try:
        role = role or take_role()
        spec = role.spec
        if role.parent:
            _die_with(role.parent)
        if spec.script:
            from jvmbind.worker.script import run_script  # noqa: PLC0415 - for `wrap` alone

            run_script(role)
        environ = dict(os.environ)
        feature = arguments.jdk_feature(spec.java_home)
        command = arguments.parse(spec.java_arguments, environ, jdk_feature=feature, java_home=spec.java_home)
        if spec.daemon:
            from jvmbind.worker.daemon import as_daemon  # noqa: PLC0415 - for commons-daemon classes alone

            command = as_daemon(command, spec.daemon)
        report = _reporter(spec, role)
        if command.delegate is not None:
            _delegate(role)  # says its notes itself
        for note in command.notes:
            _say(note)
        _Worker(role, command, report).run()
    except JvmbindError as error:
        _fail(error)
    except Exception as error:  # noqa: BLE001 - one line and a status, never a traceback
        _fail(SystemFailureError(f"{type(error).__name__}: {error}"))


def _die_with(parent: int) -> None:
    """Ask the kernel to kill this process when its supervisor dies, so that no JVM outlives it: PR_SET_PDEATHSIG.

    The setting holds from now on: a parent that died before is found by looking again.
    """
    prctl.set_pdeathsig(signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(EX_OSERR)


def _say(text: str) -> None:
    data = f"{text}\n".encode("utf-8", "surrogateescape")
    try:
        os.write(2, data)
    except OSError:
        return  # nobody listens to stderr


def _fail(error: JvmbindError) -> NoReturn:
    for note in getattr(error, "__notes__", ()):
        _say(note)
    if isinstance(error, JavaLaunchError):
        _say(error.args[0])  # the words of `java`, to the letter: wrapper scripts and people know them
    else:
        _say(f"jvmbind: {error}")
    os._exit(error.status)


def _reporter(spec: ServiceSpec, role: Role) -> Callable[[Message], None]:
    if role.control < 0:
        return lambda message: _report_to_stderr(spec, message)

    control = socket.socket(fileno=role.control)

    def report(message: Message) -> None:
        try:
            control.send(encode(message), socket.MSG_NOSIGNAL)
        except OSError:
            return  # the supervisor is gone; PR_SET_PDEATHSIG ends this process in a moment

    return report


def _report_to_stderr(spec: ServiceSpec, message: Message) -> None:
    if isinstance(message, Claimed) and not spec.quiet:
        listener = spec.listeners[message.listener]
        _say(f"jvmbind: listener {listener.name!r} ({listener.address}/{listener.protocol}) handed over, fd {message.fd}")
    elif isinstance(message, Note):
        _say(f"jvmbind: {message.text}")
    elif isinstance(message, Tried) and ": " in message.text:
        _say(f"jvmbind: bind of {message.text}")


def _delegate(role: Role) -> NoReturn:
    """Let the real `java` do what no created JVM can, such as -version; no listener is involved, so none is passed."""
    spec = role.spec
    java = os.path.join(spec.java_home, "bin", "java")
    libc = ctypes.CDLL(None, use_errno=True)
    seccomp.refuse(libc)
    _keep_in(spec, libc)
    for fd in range(role.first, role.first + len(spec.listeners)):
        os.set_inheritable(fd, False)
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    os.execv(java, [java, *spec.java_arguments])


def _keep_in(spec: ServiceSpec, libc: ctypes.CDLL) -> None:
    """Leave this thread, and all that it will start, the connects that the service may make; raises SystemFailureError."""
    if spec.isolate_network:
        from jvmbind.posix import own_network  # noqa: PLC0415 - as below

        own_network.enter(libc)
        return  # with connect_ports there are no ports
    if spec.connect_ports is None:
        return
    from jvmbind.posix import connect_rules  # noqa: PLC0415 - for services with this key alone

    connect_rules.restrict(libc, spec.connect_ports)


class _Worker:
    def __init__(self, role: Role, command: arguments.JavaCommand, report: Callable[[Message], None]) -> None:
        self._role = role
        self._spec = role.spec
        self._command = command
        self._report = report
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._libjvm = libjvm(role.spec.java_home, command.vm)
        self._fds = list(range(role.first, role.first + len(role.spec.listeners)))
        self._pipes = LifecyclePipes() if role.control >= 0 else None

    def run(self) -> NoReturn:
        for fd in self._fds:
            os.set_inheritable(fd, False)  # the application's children get none of them
        self._enclose()
        _restore_signals()
        self._exit_at_once()
        self._responder = self._attend()
        _keep_in(self._spec, self._libc)  # not before: the responder stays outside, and connects to idle sockets
        _thread.stack_size(self._stack_size())
        _thread.start_new_thread(self._java, ())
        how = "" if self._responder is None else self._responder.wait_for_its_end()
        if how:
            _say(f"jvmbind: the process that answers binds {how}: ending the JVM, which no listener can be handed to any more")
            os.kill(os.getpid(), signal.SIGKILL)  # a crash, for whoever decides about a restart
        waiting = _thread.allocate_lock()
        while True:
            waiting.acquire()  # for ever: the thread that runs Java ends the process

    def _enclose(self) -> None:
        """Keep a hijacked JVM from signalling its supervisor, and from TCP binds that the filter might miss."""
        if self._role.control < 0 and not self._spec.strict_binds:
            return
        try:
            landlock.enclose(self._libc, strict_binds=self._spec.strict_binds)
        except OSError as error:
            self._report(Note(f"no Landlock domain: {error.strerror}"))

    def _exit_at_once(self) -> None:
        """Let exit(3), by which the JVM ends after System.exit or a signal, skip the destructors of Python and JPype.

        They run while Java's threads still do, and crash (SIGSEGV, SIGABRT). Handlers run last registered first: stdio
        of native libraries is flushed, then _exit takes the JVM's status. on_exit(3), __cxa_atexit of the C++ ABI.
        """
        libc = self._libc
        libc.on_exit(ctypes.cast(libc["_exit"], ctypes.c_void_p), None)
        libc["__cxa_atexit"](ctypes.cast(libc.fflush, ctypes.c_void_p), None, None)

    def _attend(self) -> Responder | None:
        """Start whoever answers the application's calls and obeys the supervisor; None where there is neither."""
        filtered = bool(self._fds) or self._spec.strict_binds
        if not filtered and not seccomp.refuse(self._libc):
            self._report(Note("no seccomp filter here: this JVM could set other processes' limits, and type into its terminal"))
        if not filtered and self._role.control < 0:
            return None
        machine = seccomp.this_machine()
        memory = os.open("/proc/self/mem", os.O_RDONLY | os.O_CLOEXEC)  # of this process, not of the responder
        pid = os.getpid()
        responder = Responder(
            lambda: self._attendant(machine, memory, pid), self._libc, self._report, obeys=self._role.control >= 0
        )
        try:
            responder.start(seccomp.filter_program(machine, strict=self._spec.strict_binds) if filtered else None)
        except SystemFailureError as error:
            if not responder.pid:
                raise
            self._fall_back(error)
        self._report(ResponderStarted(responder.pid))
        return responder

    def _attendant(self, machine: seccomp.Machine, memory: int, pid: int) -> Attendant:
        """Make what the responder runs; called in it, and loaded there alone."""
        from jvmbind.handover.attendant import Attendant  # noqa: PLC0415
        from jvmbind.handover.binds import HandOver  # noqa: PLC0415
        from jvmbind.handover.hints import every_address  # noqa: PLC0415

        spec, command = self._spec, self._command
        if self._role.control < 0:
            from jvmbind.posix.socket_options import with_options  # noqa: PLC0415

            spec = with_options(spec, self._fds)  # which a supervisor has noted before it started the worker
        handover = HandOver(
            spec.listeners,
            self._fds,
            machine,
            memory=memory,
            pid=pid,
            libc=self._libc,
            strict=spec.strict_binds,
            inherit=spec.inherit,
            parked=self._role.parked,
            as_bound=not self._role.parked and not spec.script,
            every_address=every_address((*command.options, command.what or "", *command.arguments)),
            in_file=bool(spec.config),
            own_network=spec.isolate_network,
            report=self._report,
        )
        return Attendant(
            handover, spec.listeners, self._role.control, memory=memory, pid=pid, pipes=self._pipes, report=self._report
        )

    def _fall_back(self, error: SystemFailureError) -> None:
        """Without user notification System.inheritedChannel() still works: the listener goes on fd 0."""
        if self._spec.strict_binds:
            raise error
        names = [listener.name for listener in self._spec.listeners]
        index = names.index(self._spec.inherit) if self._spec.inherit else 0
        self._report(Note(f"{error}; only System.inheritedChannel() gets a listener ({names[index]!r}, on standard input)"))
        os.dup2(self._fds[index], 0)
        seccomp.refuse(self._libc)
        self._report(Claimed(index, 0))

    def _stack_size(self) -> int:
        """Return what the launcher gives Java's main thread, and what Python needs below it; in bytes, whole pages."""
        size = self._command.stack_size
        if not size:
            # As libjli asks: struct JDK1_1InitArgs of the JDK's java.h, javaStackSize is its fifth field.
            arguments_1_1 = (ctypes.c_int * 32)(0x00010001)
            ctypes.CDLL(self._libjvm).JNI_GetDefaultJavaVMInitArgs(ctypes.byref(arguments_1_1))
            size = arguments_1_1[6] or 1024 * 1024
        page = os.sysconf("SC_PAGESIZE")
        return -(-(size + _PYTHON_FRAMES) // page) * page

    def _java(self) -> None:
        try:
            os._exit(self._flushed(self._run_java()))
        except JvmbindError as error:
            _fail(error)
        except BaseException as error:  # noqa: BLE001 - one line and a status, never a traceback
            _fail(SystemFailureError(f"{type(error).__name__}: {error}"))

    def _flushed(self, status: int) -> int:
        self._libc.fflush(None)
        return status

    def _run_java(self) -> int:
        from jvmbind.worker import heartbeat, jvm, launch  # noqa: PLC0415 - JPype is loaded after the filter is in place
        from jvmbind.worker.jni import Jni  # noqa: PLC0415

        # `java` starts the JVM in the C locale; where the caller's does not exist, the JVM stays in what it finds.
        self._libc.setlocale(_LC_ALL, b"C")
        remark = jvm.create_jvm(self._libjvm, self._command.options)
        if remark:
            self._report(Note(remark))
        jni = Jni(self._libjvm)
        if self._spec.listeners:
            launch.set_property(jni, "jvmbind.listeners", "\n".join(_line(one) for one in self._spec.listeners if not one.of))
        if self._pipes is not None:
            launch.set_property(jni, "jvmbind.lifecycle.out", str(self._pipes.java_out))
            launch.set_property(jni, "jvmbind.lifecycle.in", str(self._pipes.java_in))
        if os.path.isfile(SHIM_JAR):
            launch.offer_api(jni, SHIM_JAR)
        if self._responder is not None:
            self._responder.jvm_is_up()
        if self._spec.heartbeat_timeout and self._role.control >= 0:
            _thread.start_new_thread(heartbeat.beat, (self._libjvm, self._report))
        self._report(Main())
        return launch.run_main(jni, self._command)


def _line(listener: ListenSpec) -> str:
    """Describe a listener for the Java API: name, protocol and the address that the application should bind."""
    if listener.protocol == "unix":
        return f"{listener.name}\tunix\t{listener.path}"
    host = "[::]" if listener.host is None else listener.host
    if ":" in host and not is_wildcard(listener.host):
        host = f"[{host}]"
    elif host == "::":
        host = "[::]"
    return f"{listener.name}\t{listener.protocol}\t{host}:{listener.app_port}"


def _restore_signals() -> None:
    """Give back to the JVM what the interpreter took at its start: `java` finds these signals untouched.

    An ignored SIGINT or SIGHUP stays ignored, as under nohup(1).
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
