"""What a reload or a restart would run: prints the specification as JSON, or why there is none.

Standard input is a memory file with the words behind `jvmbind run`, as JSON.
Run by exec from the supervisor, as the service user, so that the readers of the command line and of the configuration
are not loaded there. Binds nothing. With `--running` the file has the specification that is running, where no configuration
file could have changed it, and this checks that it can be started again.
"""

from __future__ import annotations

import json
import os
import sys
import zipfile

from jvmbind import launcher
from jvmbind.cli.run import read_request
from jvmbind.config.request import Request
from jvmbind.errors import ConfigurationError, JvmbindError
from jvmbind.listen import number_names
from jvmbind.posix.fds import read_memory
from jvmbind.privileged.identity import resolve_user
from jvmbind.privileged.preflight import check_readable
from jvmbind.spec import ServiceSpec
from jvmbind.worker.arguments import JavaCommand, Mode
from jvmbind.worker.java_home import find_java_home

RUNNING = "--running"


def plan(given: bytes, *, running: bool) -> dict[str, object]:
    """Return {"ok": true, "spec": JSON text} or {"ok": false, "error": text}."""
    try:
        if running:
            spec = ServiceSpec.from_json(given)
            _check(Request(spec.java_arguments, template=spec), spec.java_home)
        else:
            request = read_request(json.loads(given))
            java_home = find_java_home(request.java_home, os.environ)
            _check(request, java_home)
            control_gid, control_allow = launcher.delegated_control(request)
            spec = request.template._replace(
                control_gid=control_gid,
                control_allow=control_allow,
                java_home=java_home,
                java_arguments=request.java_arguments,
                listeners=number_names(list(request.listeners)),
            )
    except JvmbindError as error:
        return {"ok": False, "error": str(error)}
    return {"ok": True, "spec": spec.to_json().decode()}


def _check(request: Request, java_home: str) -> None:
    """Check that it can be started, as far as that shows without starting it; raises JvmbindError."""
    command = launcher.understand(request, java_home, os.environ)
    check_readable(resolve_user(None), launcher.needed(request, java_home, command))
    if command is not None and command.mode is Mode.CLASS and command.what is not None:
        check_main_class(command)


def check_main_class(command: JavaCommand) -> None:
    """Raise ConfigurationError where no entry of the class path has the main class.

    Nothing is said where an entry may lead to further ones (a manifest with Class-Path) or the class may come from
    elsewhere (an agent, a module path, a class archive).
    """
    elsewhere = ("-javaagent:", "-agent", "--module-path", "--patch-module", "-Xbootclasspath", "-Djava.system.class.loader")
    platform = (command.what or "").startswith(("java.", "javax.", "jdk.", "sun.", "com.sun."))
    if platform or any(option.startswith(elsewhere) for option in command.options):
        return
    class_path = command.class_path or next(
        (option.partition("=")[2] for option in command.options if option.startswith("-Djava.class.path=")), "."
    )
    name = f"{(command.what or '').replace('.', '/')}.class"
    entries = class_path.split(os.pathsep)
    if not any(_may_have(entry or ".", name) for entry in entries):
        msg = f"class {command.what} is in no entry of the class path: {class_path}"
        raise ConfigurationError(msg)


def _may_have(entry: str, name: str) -> bool:
    if os.path.isdir(entry):
        return os.path.exists(os.path.join(entry, name))
    try:
        with zipfile.ZipFile(entry) as jar:
            if name in jar.namelist():
                return True
            manifest = jar.read("META-INF/MANIFEST.MF") if "META-INF/MANIFEST.MF" in jar.namelist() else b""
            return b"class-path:" in manifest.lower()
    except (OSError, ValueError):
        return False  # not there: `java` leaves it out
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError):
        return False


if __name__ == "__main__":
    sys.stdout.write(json.dumps(plan(read_memory(0), running=sys.argv[1:] == [RUNNING])))
