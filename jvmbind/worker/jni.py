"""The few JNI calls that being `java` needs, through ctypes: the interpreter's lock is free while Java runs.

Runs in the worker, on the thread that created the JVM. Must not import jpype. Sources: the JNI specification, chapters
4 (function table) and 5 (invocation interface); the positions below are those of its tables.
"""

from __future__ import annotations

import ctypes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_P = ctypes.c_void_p
_INT = ctypes.c_int
_STR = ctypes.c_char_p
_JNI_VERSION_9 = 0x00090000

# name -> (position, result, argument types after JNIEnv*)
_FUNCTIONS: dict[str, tuple[int, Any, tuple[Any, ...]]] = {
    "FindClass": (6, _P, (_STR,)),
    "Throw": (13, _INT, (_P,)),
    "ExceptionOccurred": (15, _P, ()),
    "ExceptionDescribe": (16, None, ()),
    "ExceptionClear": (17, None, ()),
    "DeleteLocalRef": (23, None, (_P,)),
    "NewObjectA": (30, _P, (_P, _P, _P)),
    "GetObjectClass": (31, _P, (_P,)),
    "IsInstanceOf": (32, ctypes.c_ubyte, (_P, _P)),
    "GetMethodID": (33, _P, (_P, _STR, _STR)),
    "CallBooleanMethodA": (39, ctypes.c_ubyte, (_P, _P, _P)),
    "CallVoidMethodA": (63, None, (_P, _P, _P)),
    "GetStaticMethodID": (113, _P, (_P, _STR, _STR)),
    "CallStaticObjectMethodA": (116, _P, (_P, _P, _P)),
    "CallStaticLongMethodA": (134, ctypes.c_int64, (_P, _P, _P)),
    "CallStaticVoidMethodA": (143, None, (_P, _P, _P)),
    "GetStaticFieldID": (144, _P, (_P, _STR, _STR)),
    "GetStaticBooleanField": (146, ctypes.c_ubyte, (_P, _P)),
    "NewStringUTF": (167, _P, (_STR,)),
    "GetArrayLength": (171, _INT, (_P,)),
    "NewObjectArray": (172, _P, (_INT, _P, _P)),
    "GetObjectArrayElement": (173, _P, (_P, _INT)),
    "SetObjectArrayElement": (174, None, (_P, _INT, _P)),
    "NewByteArray": (176, _P, (_INT,)),
    "SetByteArrayRegion": (208, None, (_P, _INT, _INT, _STR)),
}
_VM_DESTROY, _VM_DETACH, _VM_GET_ENV, _VM_ATTACH_DAEMON = 3, 5, 6, 7


class JavaError(Exception):
    """A Java exception is pending on this thread: it is Java's to report."""


def _table(pointer: Any) -> Any:
    return ctypes.cast(ctypes.cast(pointer, ctypes.POINTER(_P))[0], ctypes.POINTER(_P))


class Jni:
    """The JVM of this process as JNI shows it to the calling thread. References are local to that thread."""

    def __init__(self, libjvm: str, *, attach: str = "") -> None:
        """Find the JVM that was created from the library `libjvm`; raises OSError where there is none.

        The calling thread must be known to the JVM, or becomes so as a daemon of the name `attach`.
        """
        self._vm = _P()
        count = _INT()
        ctypes.CDLL(libjvm).JNI_GetCreatedJavaVMs(ctypes.byref(self._vm), 1, ctypes.byref(count))
        self._env = _P()
        if count.value != 1:
            msg = f"{libjvm}: no JVM was created from it"
            raise OSError(msg)
        if attach:
            # struct JavaVMAttachArgs: version, name, thread group
            arguments = (ctypes.c_uint64 * 3)(_JNI_VERSION_9, ctypes.cast(_STR(attach.encode()), _P).value or 0, 0)
            function = ctypes.CFUNCTYPE(_INT, _P, _P, _P)(_table(self._vm)[_VM_ATTACH_DAEMON])
            function(self._vm, ctypes.addressof(self._env), ctypes.addressof(arguments))
        get_env = ctypes.CFUNCTYPE(_INT, _P, _P, _INT)(_table(self._vm)[_VM_GET_ENV])
        if get_env(self._vm, ctypes.addressof(self._env), _JNI_VERSION_9) != 0:
            msg = f"{libjvm}: this thread is not attached to the JVM"
            raise OSError(msg)
        self._functions = _table(self._env)

    def raw(self, name: str, *args: Any) -> Any:
        """Call a JNI function; a pending Java exception is left pending."""
        position, result, types = _FUNCTIONS[name]
        return ctypes.CFUNCTYPE(result, _P, *types)(self._functions[position])(self._env, *args)

    def call(self, name: str, *args: Any) -> Any:
        """Call a JNI function; raises JavaError where an exception is pending afterwards."""
        result = self.raw(name, *args)
        if self.raw("ExceptionOccurred"):
            raise JavaError(name)
        return result

    def find_class(self, name: str) -> int:
        """Return a class, by its name with slashes; raises JavaError."""
        return int(self.call("FindClass", name.encode()))

    def static(self, kind: str, cls: int, method: str, signature: str, *values: int | bool | None) -> Any:
        """Call a static method (`kind` is Object or Void); references, ints and booleans only. Raises JavaError."""
        ident = self.call("GetStaticMethodID", cls, method.encode(), signature.encode())
        return self.call(f"CallStatic{kind}MethodA", cls, ident, values_of(values))

    def string(self, text: str) -> int:
        """Return a java.lang.String of ASCII text; raises JavaError."""
        return int(self.call("NewStringUTF", text.encode("ascii")))

    def byte_array(self, data: bytes) -> int:
        """Return a byte[]; raises JavaError."""
        array = self.call("NewByteArray", len(data))
        self.call("SetByteArrayRegion", array, 0, len(data), data)
        return int(array)

    def detach(self) -> bool:
        """Detach this thread: Java's own handler reports an exception that is pending. Returns whether it worked."""
        return bool(ctypes.CFUNCTYPE(_INT, _P)(_table(self._vm)[_VM_DETACH])(self._vm) == 0)

    def destroy(self) -> None:
        """Wait for the last thread that is not a daemon, run the shutdown hooks and end the JVM (DestroyJavaVM)."""
        ctypes.CFUNCTYPE(_INT, _P)(_table(self._vm)[_VM_DESTROY])(self._vm)


def values_of(values: tuple[int | bool | None, ...]) -> Any:
    """Return an array of jvalue, eight bytes each, for the functions that end in A."""
    return ctypes.cast((ctypes.c_uint64 * max(1, len(values)))(*(int(v or 0) for v in values)), _P)
