"""Creates the JVM through JPype. The one file that imports it.

Runs in the worker (or in a Python program that embeds a Java server), after the drop and after the filter.

A worker wants the JVM and nothing of JPype's Java half: that costs more time than the JVM itself, and leaves a shutdown
hook, a thread, a class path entry and a right to load libraries behind. `_jpype.startup` creates the JVM first, then looks
for `org.jpype.jar` on the class path, and raises RuntimeError where it is not: the JVM lives all the same. Before that
it wants to find some names that `import jpype` would have filled in. None of this is a public interface: JPype1 is pinned
to the versions that are tested, and what one does otherwise is dealt with by `create_jvm`.

`jpype.startJVM` is not used: it puts its own jar and class loader before a class path with non-ASCII characters, and
changes locales; `_jpype.startup` below it takes the JVM's options as they are.
"""

from __future__ import annotations

import ctypes
import os

import _jpype

from jvmbind.errors import JavaLaunchError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

CLASS_PATH = "-Djava.class.path="
_NAMES = (
    *("JObject", "JInterface", "JArray", "JChar", "JException", "_jclassPre", "_jclassPost", "_jclassDoc"),
    *("getMethodDoc", "getMethodAnnotations", "getMethodCode"),
)
_NO_JAVA_HALF = "Can't find org.jpype.jar support library"


def create_jvm(libjvm: str, options: Sequence[str]) -> str:
    """Create the JVM on the calling thread, which becomes Java's main thread; the JVM keeps its own signal handling.

    Returns a remark where JPype behaves otherwise than the tested versions, and so is there with its Java half. Raises
    JavaLaunchError with `java`'s own words where the JVM refuses (it has said why on stderr).
    """
    added = [name for name in _NAMES if not hasattr(_jpype, name)]
    for name in added:
        setattr(_jpype, name, None)
    failure = _start(libjvm, options)
    if _is_created(libjvm):
        return "" if _NO_JAVA_HALF in failure else f"JPype {_version()} has started its Java half as well ({failure})"
    _raise_refused(failure)
    for name in added:
        delattr(_jpype, name)
    _start_in_public(libjvm, options)
    return (
        f"JPype {_version()} cannot create a JVM alone ({failure}): its shutdown hook, which interrupts threads, is there as well"
    )


def start_with_jpype(libjvm: str, options: Sequence[str]) -> None:
    """Start the JVM with the whole of JPype, whose jar becomes the last entry of the class path; raises JavaLaunchError."""
    import jpype.config  # noqa: F401, PLC0415 - fills in what _jpype.startup looks for, and costs as much as the JVM

    failure = _start(libjvm, with_support_jar(options))
    if failure:
        _raise_refused(failure)
        msg = f"Error: {libjvm}: {failure}"
        raise JavaLaunchError(msg)


def is_to_end() -> bool:
    """Whether JPype's JVM lives and Python's exit is to end it: `jpype.config` may say otherwise."""
    config = _config()
    return bool(_jpype.isStarted() and config.onexit and config.destroy_jvm)


def do_not_destroy() -> None:
    """Let JPype not wait for Java's threads at exit: `jpype.config.destroy_jvm`."""
    _config().destroy_jvm = False


def leave_alone() -> None:
    """In a forked child, where no thread of the JVM is: let JPype do nothing at exit."""
    _config().onexit = False


def this_thread() -> Any:  # noqa: ANN401 - a java.lang.Thread
    """Return Java's object for the calling thread; all of JPype must be there."""
    import jpype  # noqa: PLC0415 - as below

    return jpype.JClass("java.lang.Thread").currentThread()


def _config() -> Any:  # noqa: ANN401 - a module
    import jpype.config  # noqa: PLC0415 - a program that embeds the JVM alone needs it

    return jpype.config


def _start_in_public(libjvm: str, options: Sequence[str]) -> None:
    """Start the JVM by the function that JPype documents, which each version has."""
    import jpype  # noqa: PLC0415 - as above

    try:
        jpype.startJVM(*options, jvmpath=libjvm, convertStrings=False, interrupt=True)
    except Exception as error:
        _raise_refused(str(error))
        msg = f"Error: {libjvm}: {type(error).__name__}: {error}"
        raise JavaLaunchError(msg) from error


def _start(libjvm: str, options: Sequence[str]) -> str:
    """Return what `_jpype.startup` has to say, empty where it just succeeds."""
    try:
        # Bytes: what `java` passes on. Then ignoreUnrecognized, convertStrings, interrupt as documented for jpype.startJVM.
        _jpype.startup(libjvm, tuple(map(os.fsencode, options)), False, False, True, None)
    except Exception as error:  # noqa: BLE001 - that of a version that is not known may raise anything
        return f"{type(error).__name__}: {error}"
    return ""


def _raise_refused(failure: str) -> None:
    if "Unable to start JVM" in failure:
        msg = "Error: Could not create the Java Virtual Machine.\nError: A fatal exception has occurred. Program will exit."
        raise JavaLaunchError(msg)


def _is_created(libjvm: str) -> bool:
    """Whether there is a JVM in this process: JNI_GetCreatedJavaVMs."""
    machine, count = ctypes.c_void_p(), ctypes.c_int()
    try:
        ctypes.CDLL(libjvm).JNI_GetCreatedJavaVMs(ctypes.byref(machine), 1, ctypes.byref(count))
    except OSError as error:
        msg = f"Error: {libjvm}: {error}"
        raise JavaLaunchError(msg) from error
    return count.value == 1


def _version() -> str:
    return str(getattr(_jpype, "__version__", "of an unknown version"))


def support_jar() -> str:
    """Return the path of JPype's own jar, which must be on the class path where all of JPype is wanted."""
    return os.path.join(os.path.dirname(os.path.abspath(_jpype.__file__)), "org.jpype.jar")


def with_support_jar(options: Sequence[str]) -> list[str]:
    """Append JPype's jar to the last class path option: after the application's entries, so that nothing of it is hidden.

    No class path, or an empty one, means the current directory, unless a main module is named: JDK
    jdk.internal.loader.ClassLoaders. An empty entry keeps that meaning.
    """
    last = max((i for i, option in enumerate(options) if option.startswith(CLASS_PATH)), default=-1)
    class_path = options[last][len(CLASS_PATH) :] if last >= 0 else ""
    has_main_module = any(option.startswith("-Djdk.module.main=") for option in options)
    entry = support_jar() if has_main_module and not class_path else f"{class_path}{os.pathsep}{support_jar()}"
    result = [option for i, option in enumerate(options) if i != last]
    return [
        *result[: last if last >= 0 else len(result)],
        CLASS_PATH + entry,
        *result[last if last >= 0 else len(result) :],
    ]
