"""`jvmbind unit --apparmor`, `--selinux` and `--polkit`: what of this machine a policy has to name.

Part of `jvmbind unit`, run as any user. Loads and writes nothing; the text comes from jvmbind.units.
"""

from __future__ import annotations

import os
import sys
import sysconfig
from typing import TYPE_CHECKING

import jvmbind
from jvmbind.errors import ConfigurationError, UsageError
from jvmbind.units import apparmor, polkit, selinux
from jvmbind.units.wanted import Places
from jvmbind.worker.java_home import find_java_home

if TYPE_CHECKING:
    import argparse

    from jvmbind.units.wanted import Wanted


def policy(options: argparse.Namespace, wanted: Wanted) -> str:
    """Return the text of the profile or module that is asked for; raises JvmbindError."""
    word = "--apparmor" if options.apparmor else "--selinux" if options.selinux else "--polkit"
    for other in ("install", "user"):
        if getattr(options, other):
            msg = f"unit: {word} and --{other}: a policy is loaded by its own tools, as root; expected only {word}"
            raise UsageError(msg)
    if options.polkit:
        return polkit.rule(_delegated(wanted))
    return apparmor.profile(wanted, _places(wanted)) if options.apparmor else selinux.module(wanted)


def _delegated(wanted: Wanted) -> Wanted:
    """Return what is wanted, if there is a group that may do something; raises ConfigurationError."""
    if not wanted.request.control_group:
        msg = f"{wanted.run}: control.group: expected the group whose members may reload or restart the service"
        raise ConfigurationError(msg)
    if not polkit.verbs(wanted.request.control_allow):
        msg = f"{wanted.run}: control.allow: expected reload or restart in it; nothing else is systemd's to do"
        raise ConfigurationError(msg)
    return wanted


def _places(wanted: Wanted) -> Places:
    """Return where the parts of the service lie; raises JvmbindError where there is no Java."""
    request = wanted.request
    programs = [
        path for word in (*wanted.command, sys.executable) if word.startswith("/") for path in (word, os.path.realpath(word))
    ]
    # A virtual environment as a whole; of the distribution's Python only what is jvmbind's, the rest is in /usr/lib.
    folders = [sysconfig.get_path("stdlib"), os.path.dirname(jvmbind.__path__[0])]
    folders += [sys.prefix] if sys.prefix != sys.base_prefix else []
    read = [path for word in request.java_arguments for part in word.split(":") for path in _named(part)]
    if request.template.script:
        read += _deep(os.path.dirname(os.path.dirname(request.template.script[0])))  # of HOME/bin/catalina.sh the home
    places = Places(
        tuple(dict.fromkeys(programs)),
        tuple(dict.fromkeys(map(os.path.realpath, folders))),
        os.path.realpath(find_java_home(request.java_home, os.environ)),
        tuple(dict.fromkeys(read)),
    )
    for path in (*places.programs, *places.folders, places.java_home, *places.read):
        if not path.isprintable():  # it could end a line, and begin a rule
            msg = f"{path!r} cannot stand in a policy; expected printable characters"
            raise ConfigurationError(msg)
    return places


def _named(part: str) -> list[str]:
    """Return the paths that a part of the command line names; beside a jar lie others, and what the application reads."""
    path = part.removesuffix("/*").rpartition("=")[2].removeprefix("@")
    return _deep(path) + (_deep(os.path.dirname(path)) if path.endswith(".jar") else [])


def _deep(path: str) -> list[str]:
    """Return a path as the kernel will see it, in a list; none of one such as /etc, which is not the service's alone."""
    real = os.path.realpath(path)
    return [real] if path.startswith("/") and real.count("/") > 1 else []
