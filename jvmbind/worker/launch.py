"""Runs the application's main as the `java` command does, with the JDK's own launcher class.

Runs in the worker, on the thread that created the JVM. Must not import jpype. libjli, which is `java`, leaves everything
that users see of the start to sun.launcher.LauncherHelper: manifests, error texts, which main method counts. So does this
module, in the order of JavaMain in the JDK's java.c. Where a step is of one version, the version is named.
"""

from __future__ import annotations

import os

from jvmbind.worker.arguments import Mode
from jvmbind.worker.jni import JavaError, Jni, values_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from jvmbind.worker.arguments import JavaCommand

_HELPER = "sun/launcher/LauncherHelper"
_STRINGS = "([Ljava/lang/String;)V"


def set_property(jni: Jni, name: str, value: str) -> None:
    """Set a system property; raises JavaError."""
    signature = "(Ljava/lang/String;Ljava/lang/String;)Ljava/lang/String;"
    text = _platform_string(jni, jni.find_class(_HELPER), value)
    jni.static("Object", jni.find_class("java/lang/System"), "setProperty", signature, jni.string(name), text)


def offer_api(jni: Jni, jar: str) -> None:
    """Put the Java API behind the application's own class path, where a class of it is looked for that is nowhere else.

    By what java.lang.instrument documents for agents; the property java.class.path stays as it was, and the jar is not opened
    before somebody looks for what no other has. Does nothing where a runtime has no such class loader.
    """
    try:
        loader = jni.static(
            "Object", jni.find_class("jdk/internal/loader/ClassLoaders"), "appClassLoader", "()Ljava/lang/ClassLoader;"
        )
        kind = jni.call("GetObjectClass", loader)
        append = jni.call("GetMethodID", kind, b"appendToClassPathForInstrumentation", b"(Ljava/lang/String;)V")
        text = _platform_string(jni, jni.find_class(_HELPER), jar)
        jni.call("CallVoidMethodA", loader, append, values_of((text,)))
    except JavaError:
        jni.raw("ExceptionClear")


def run_main(jni: Jni, command: JavaCommand) -> int:
    """Run what `command` says and return the status of the process, unless Java ends it first (System.exit, a signal)."""
    try:
        _run_main(jni, command)
        status = 0
    except JavaError:
        status = 1  # detach() prints it, as "Exception in thread "main" ..."
    if not jni.detach():
        status = 1
    jni.destroy()
    return status


def _run_main(jni: Jni, command: JavaCommand) -> None:
    helper = jni.find_class(_HELPER)
    to_stderr = command.print_to_stderr
    if command.show_settings is not None:
        # Heap and stack as given; 0 where nothing was said. jlong arguments are 8 bytes, as every jvalue.
        option = jni.string(command.show_settings)
        signature = "(ZLjava/lang/String;JJJ)V"
        sizes = (command.initial_heap, command.max_heap, command.stack_size or 0)
        jni.static("Void", helper, "showSettings", signature, True, option, *sizes)
    if command.show_resolved_modules:
        jni.static("Void", helper, "showResolvedModules", "()V")
    if command.show_version or command.print_version:
        version = jni.find_class("java/lang/VersionProps")
        jni.static("Void", version, "print", "(Z)V", to_stderr)
        if command.print_version:
            return
    if command.list_modules:
        jni.static("Void", helper, "listModules", "()V")
        return
    if command.describe_module is not None:
        text = _platform_string(jni, helper, command.describe_module)
        jni.static("Void", helper, "describeModule", "(Ljava/lang/String;)V", text)
        return
    if command.what is None or command.mode == Mode.NONE:
        return
    what = _platform_string(jni, helper, command.what)
    signature = "(ZILjava/lang/String;)Ljava/lang/Class;"
    try:
        main_class = jni.static("Object", helper, "checkAndLoadMain", signature, True, command.mode, what)
    except JavaError:
        # What Java has no words for itself, as a source file where the runtime has no compiler, gets this line first.
        os.write(2, b"Error: A JNI error has occurred, please check your installation and try again\n")
        raise
    if not main_class:
        raise JavaError(command.what)
    arguments = _string_array(jni, helper, command.arguments)
    if not command.dry_run:
        _invoke(jni, helper, main_class, arguments)


def _invoke(jni: Jni, helper: int, main_class: int, arguments: int) -> None:
    """Call main: static or of an instance, with or without arguments.

    JDK 22 and later have decided that in checkAndLoadMain and say so in two fields; before, the first that exists.
    """
    is_static = _flag(jni, helper, "isStaticMain")
    no_arguments = _flag(jni, helper, "noArgMain")
    if is_static is None or no_arguments is None:
        forms = [(True, False), (True, True), (False, False), (False, True)]
    else:
        forms = [(is_static, no_arguments)]
    for last, (static, plain) in zip([False] * (len(forms) - 1) + [True], forms, strict=True):
        lookup = "GetStaticMethodID" if static else "GetMethodID"
        method = jni.raw(lookup, main_class, b"main", b"()V" if plain else _STRINGS.encode())
        if not method:
            # Another exception than NoSuchMethodError comes from the class's own initializer, and is the result.
            if last or not _is_missing_method(jni):
                raise JavaError("main")
            continue
        values: Any = values_of(() if plain else (arguments,))
        if static:
            jni.call("CallStaticVoidMethodA", main_class, method, values)
        else:
            constructor = jni.call("GetMethodID", main_class, b"<init>", b"()V")
            instance = jni.call("NewObjectA", main_class, constructor, None)
            jni.call("CallVoidMethodA", instance, method, values)
        return


def _is_missing_method(jni: Jni) -> bool:
    """Whether the pending exception is a NoSuchMethodError, which is cleared then."""
    exception = jni.raw("ExceptionOccurred")
    jni.raw("ExceptionClear")
    if jni.raw("IsInstanceOf", exception, jni.find_class("java/lang/NoSuchMethodError")):
        return True
    jni.raw("Throw", exception)
    return False


def _flag(jni: Jni, helper: int, name: str) -> bool | None:
    field = jni.raw("GetStaticFieldID", helper, name.encode(), b"Z")
    if not field:
        jni.raw("ExceptionClear")
        return None
    return bool(jni.raw("GetStaticBooleanField", helper, field))


def _platform_string(jni: Jni, helper: int, text: str) -> int:
    """Decode as `java` decodes its arguments: the bytes, by sun.jnu.encoding."""
    data = jni.byte_array(os.fsencode(text))
    return int(jni.static("Object", helper, "makePlatformString", "(Z[B)Ljava/lang/String;", True, data) or 0)


def _string_array(jni: Jni, helper: int, texts: tuple[str, ...]) -> int:
    array = jni.call("NewObjectArray", len(texts), jni.find_class("java/lang/String"), None)
    for position, text in enumerate(texts):
        string = _platform_string(jni, helper, text)
        jni.call("SetObjectArrayElement", array, position, string)
        jni.raw("DeleteLocalRef", string)  # a command line may be longer than the table of local references
    return int(array)
