"""Where the Java shim is: the jar with `dev.jvmbind`, built from java-shim/ into this package.

Used by the worker as the service user, and by build tools of Java programs. Imports errors alone.
"""

from __future__ import annotations

import os

from jvmbind.errors import ConfigurationError

SHIM_JAR = os.path.join(os.path.dirname(os.path.abspath(__file__)), "_shim.jar")


def shim_jar() -> str:
    """Return the absolute path of the jar with the Java API, for the class path or the module path of a compiler.

    Raises ConfigurationError where it is not there: this jvmbind was neither installed nor built.
    """
    if not os.path.isfile(SHIM_JAR):
        msg = f"{SHIM_JAR} is missing; expected an installed jvmbind, or a build of its Java shim"
        raise ConfigurationError(msg)
    return SHIM_JAR
