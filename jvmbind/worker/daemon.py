"""Runs a commons-daemon class as `jsvc` does: init, start, stop, destroy.

Runs in the worker, before the JVM exists. The four calls are made by dev.jvmbind.daemon.DaemonMain of the Java shim,
which takes the place of the main class. Must not import jpype. Source: commons-daemon, "Daemon: JSVC".
"""

from __future__ import annotations

import os

from jvmbind.errors import ConfigurationError
from jvmbind.shim import shim_jar
from jvmbind.worker.arguments import JavaCommand, Mode

MAIN = "dev.jvmbind.daemon.DaemonMain"
_CLASS_PATH = "-Djava.class.path="
_COMMAND = "-Dsun.java.command="
_USER_SIGNAL = "_JAVA_SR_SIGNUM"
_FREE_SIGNAL = "62"  # a real-time signal that glibc leaves alone: signal(7)


def as_daemon(command: JavaCommand, daemon: str) -> JavaCommand:
    """Return the command line that runs the class `daemon` with the arguments of `command`.

    The class may stand in the place of the main class too. HotSpot keeps SIGUSR2, by which jsvc's users send a
    DaemonUserSignal, for itself; it is told to take another one (_JAVA_SR_SIGNUM, os_posix.cpp).
    Raises ConfigurationError for a module or a source file, and where the shim is missing.
    """
    if command.mode in {Mode.MODULE, Mode.SOURCE}:
        msg = f"daemon class {daemon}: expected a class path or a jar in the Java arguments, not a module or a source file"
        raise ConfigurationError(msg).about(key="java.daemon")
    if command.what is None and (command.help or command.print_version or command.full_version or command.list_modules):
        return command
    jar = shim_jar()
    os.environ.setdefault(_USER_SIGNAL, _FREE_SIGNAL)
    named = command.what is None or command.what == daemon or command.mode == Mode.JAR
    arguments = (daemon, *command.arguments) if named else (daemon, command.what or "", *command.arguments)
    options = [option for option in command.options if not option.startswith((_CLASS_PATH, _COMMAND))]
    class_path = command.class_path or "."
    # After the application's own, so that nothing of it is hidden.
    options += [f"{_CLASS_PATH}{class_path}{os.pathsep}{jar}", _COMMAND + " ".join(arguments)]
    return command._replace(
        options=tuple(options),
        mode=Mode.CLASS,
        what=MAIN,
        arguments=arguments,
        class_path=class_path,
        delegate=None if command.what is None else command.delegate,
    )
