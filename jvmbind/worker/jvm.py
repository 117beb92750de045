"""Starts the JVM through JPype. The one file that imports it.

Runs in the worker (or in a Python program that embeds a Java server), after the drop and after the filter.
`jpype.startJVM` is not used: it puts its own jar and class loader before a class path with non-ASCII characters, and
changes locales; `_jpype.startup` below it takes the JVM's options as they are. JPype1 is pinned below 1.8 for that.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import _jpype
import jpype  # noqa: F401 - fills in what _jpype.startup looks for

from jvmbind.errors import JavaLaunchError

if TYPE_CHECKING:
    from collections.abc import Sequence

CLASS_PATH = "-Djava.class.path="
COMMAND = "-Dsun.java.command="


def is_utf8(text: str) -> bool:
    """Whether JPype can pass `text` on; bytes that are not UTF-8 arrive from the command line as lone surrogates (PEP 383)."""
    return not any("\ud800" <= char <= "\udfff" for char in text)


def support_jar() -> str:
    """Return the path of JPype's own jar, which must be on the class path."""
    return os.path.join(os.path.dirname(os.path.abspath(_jpype.__file__)), "org.jpype.jar")


def with_support_jar(options: Sequence[str]) -> list[str]:
    """Append JPype's jar to the last class path option: behind the application's, so that nothing of it is hidden.

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


def _readable(option: str) -> str:
    return option.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def start_jvm(libjvm: str, options: Sequence[str]) -> None:
    """Create the JVM on the calling thread, which becomes Java's main thread; the JVM keeps its own signal handling.

    Raises JavaLaunchError with `java`'s own words where the JVM refuses (it has said why on stderr).
    """
    try:
        # The command holds the application's arguments, which may be any bytes; launch.set_property gives it in full.
        options = [_readable(option) if option.startswith(COMMAND) else option for option in options]
        # ignoreUnrecognized, convertStrings, interrupt: False, False, True as documented for jpype.startJVM
        _jpype.startup(libjvm, tuple(with_support_jar(options)), False, False, True, None)
    except UnicodeEncodeError as error:
        msg = f"Error: a JVM option is not UTF-8: {error.object!r}"
        raise JavaLaunchError(msg) from error
    except (RuntimeError, OSError) as error:
        if "Unable to start JVM" in str(error):
            msg = "Error: Could not create the Java Virtual Machine.\nError: A fatal exception has occurred. Program will exit."
            raise JavaLaunchError(msg) from error
        msg = f"Error: {libjvm}: {error}"
        raise JavaLaunchError(msg) from error
