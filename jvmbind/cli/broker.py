"""`jvmbind broker`: be the broker, or say what its policy says.

Runs as root or with CAP_NET_BIND_SERVICE where it serves, with whatever its caller has elsewhere. Of the command line only this
file is loaded in the broker.
"""

from __future__ import annotations

import argparse
import os
import pwd
import sys
from typing import NoReturn

from jvmbind.broker.files import DIRECTORY, load
from jvmbind.broker.message import SOCKET
from jvmbind.errors import EX_NOPERM, ConfigurationError, UsageError


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Report wrong usage in one line, with status 64."""
        msg = f"broker: {message} (jvmbind broker --help)"
        raise UsageError(msg)


def main(argv: list[str]) -> None:
    """Run the command; does not return where it serves."""
    parser = _Parser(
        prog="jvmbind broker",
        description="Bind ports for users who may have them by this machine's policy, as a service; or say what that policy says.",
        allow_abbrev=False,
    )
    parser.add_argument("--policy", metavar="DIR", default=DIRECTORY, help=f"the directory with the policy; default {DIRECTORY}")
    parser.add_argument("--socket", metavar="PATH", default=SOCKET, help=f"where none is passed by systemd; default {SOCKET}")
    parser.add_argument("-u", "--user", metavar="USER", help="who to be where started as root; default jvmbind-broker")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--check", action="store_true", help="read the policy and name each rule that can never apply")
    what.add_argument(
        "--explain", nargs=2, metavar=("USER", "SPEC"), help="say which rule decides whether this user may have this listener"
    )
    what.add_argument(
        "--import",
        nargs=2,
        metavar=("KIND", "PATH"),
        dest="convert",
        help="print a policy made from what another program has; KIND is authbind (a directory) or daemonusr (lines PORT:USER)",
    )
    options = parser.parse_args(argv)
    if options.check:
        _check(options.policy)
    elif options.explain:
        _explain(options.policy, *options.explain)
    elif options.convert:
        _convert(*options.convert)
    else:
        from jvmbind.broker.serve import serve  # noqa: PLC0415 - for the service alone

        serve(options.policy, options.socket, options.user, os.environ)


def _check(directory: str) -> None:
    from jvmbind.broker.review import never_apply  # noqa: PLC0415 - not loaded in the service

    rules = load(directory)
    for rule, other in never_apply(rules):
        sys.stdout.write(f"{rule.where}: never applies, as {other.where} does before: {rule.text}\n")
    sys.stdout.write(f"{directory}: {len(rules)} rules\n")


def _explain(directory: str, user: str, text: str) -> None:
    from jvmbind.broker.policy import Peer, decide, wanted_by  # noqa: PLC0415 - not loaded in the service by this file
    from jvmbind.spec import parse_listen  # noqa: PLC0415

    spec = parse_listen(text)
    if spec.protocol == "unix":
        msg = f"broker --explain {text!r}: a broker binds TCP and UDP only; expected an address and a port"
        raise UsageError(msg)
    try:
        entry = pwd.getpwuid(int(user)) if user.isascii() and user.isdigit() and len(user) <= 10 else pwd.getpwnam(user)
    except (KeyError, ValueError, OverflowError):
        msg = f"broker --explain: no user {user!r} on this machine; expected the name or the number of a user"
        raise ConfigurationError(msg) from None
    peer = Peer(entry.pw_uid, frozenset(os.getgrouplist(entry.pw_name, entry.pw_gid)))
    rule = decide(load(directory), peer, wanted_by(spec))
    allowed = rule is not None and rule.allow
    why = f"{rule.where}: {rule.text}" if rule else "no rule applies"
    sys.stdout.write(f"{entry.pw_name} {'may' if allowed else 'may not'} have {spec.address}/{spec.protocol}: {why}\n")
    if not allowed:
        sys.stdout.flush()
        sys.exit(EX_NOPERM)


def _convert(kind: str, path: str) -> None:
    from jvmbind.broker import convert  # noqa: PLC0415 - not loaded in the service

    if kind not in {"authbind", "daemonusr"}:
        msg = f"broker --import {kind!r}: expected authbind or daemonusr"
        raise UsageError(msg)
    lines = list(convert.from_authbind(path) if kind == "authbind" else convert.from_ports(path))
    sys.stdout.write("".join(f"{line}\n" for line in lines))
