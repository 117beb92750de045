"""Unprivileged users that every Debian system has; the tests create none. Run by pytest; must not import jvmbind."""

from __future__ import annotations

import os
import pwd
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class User:
    """A user as the tests need it."""

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...]
    home: str


def user(name: str) -> User:
    """Return a system user with the groups that login would give it; KeyError if there is none."""
    entry = pwd.getpwnam(name)
    groups = tuple(sorted(os.getgrouplist(name, entry.pw_gid)))
    return User(name, entry.pw_uid, entry.pw_gid, groups, entry.pw_dir)


SERVICE_USER = "www-data"
OTHER_USER = "nobody"
UNNAMED_ID = 54321
"""A number that no account has."""
