"""Orders the steps of a start, from the first instruction to the drop. All that runs with privilege is in this folder.

Runs with whatever privilege the caller has. The command line, the configuration and the files of the service are read by
children that have given up every privilege (`jvmbind.plan`); what comes back is a plan that is not believed. After the drop
the same process becomes the supervisor (`jvmbind.launcher`).
"""

from __future__ import annotations

import contextlib
import os
import sys
from typing import NamedTuple, NoReturn

from jvmbind.errors import JvmbindError, NotPermittedError, say
from jvmbind.root import control_dir
from jvmbind.root.child import Channel, ask
from jvmbind.root.drop import CAP_NET_BIND_SERVICE, drop_permanently, effective_capabilities
from jvmbind.root.holder import open_holder
from jvmbind.root.inherited import passed, take
from jvmbind.root.listeners import Listener, NotBoundError, bind_listeners, release
from jvmbind.root.owned import check_own_code, open_configuration
from jvmbind.root.plan import Plan, read_plan
from jvmbind.root.process import check_proc, close_to_others, fill_standard_fds, is_privileged, set_limits, wait_for_children
from jvmbind.root.user import NOBODY, look_up
from jvmbind.spec import UserSpec


class Started(NamedTuple):
    """What the supervisor is made of, once nothing of a privilege is left."""

    name: str
    control: str
    why: str  # there is no control socket
    listeners: list[Listener]
    rest: bytes
    changed_user: bool
    on_standard_input: bool  # the first listener is what inetd has put there


def main(argv: list[str]) -> NoReturn:
    """Start the service in place of this process; ends it with the documented status, and one line on stderr on failure."""
    try:
        started = start(argv)
        from jvmbind.launcher import become  # noqa: PLC0415 - nothing of it is loaded with privilege

        become(started)
    except (JvmbindError, OSError, MemoryError) as error:
        if os.environ.get("NOTIFY_SOCKET", "").startswith("fd:"):
            with contextlib.suppress(JvmbindError, OSError, MemoryError):
                _say(error)  # to the program that has started this by jvmbind.Service as well
        sys.exit(say(error))
    except KeyboardInterrupt:
        os._exit(130)


def start(argv: list[str]) -> Started:
    """Bind and drop. Raises JvmbindError, or SystemExit where a child has said why, with nothing bound and nothing left behind."""
    fill_standard_fds()
    check_proc()
    wait_for_children()
    with open("/proc/self/environ", "rb") as file:
        given = file.read()
    ids = os.geteuid(), os.getegid(), tuple(os.getgroups())
    root, pid = ids[0] == 0, os.getpid()
    caller = UserSpec(*ids, "", "", "")

    may_bind = bool(effective_capabilities() >> CAP_NET_BIND_SERVICE & 1)

    def read(channel: Channel) -> bytes:
        from jvmbind.plan.start import read_service  # noqa: PLC0415 - in a child that has dropped

        return read_service(argv, given, ids, pid, channel, may_bind=may_bind)

    def examine(_: Channel) -> bytes:
        from jvmbind.plan.start import examine_service  # noqa: PLC0415 - as above

        return examine_service(plan.rest, given, user)

    def configuration(path: str) -> int:
        if not any(_names(word, path) for word in argv):
            msg = f"the plan of the service asks for {path!r}: expected a file that the command line names"
            raise NotPermittedError(msg)
        return open_configuration(path, owned=is_privileged())

    text, sent = ask(NOBODY if root else caller, read, "the reading of the command line", configuration)
    plan = read_plan(text)
    user = look_up(plan.user, plan.group) if root else caller
    if not plan.direct:
        close_to_others()
    if root:
        check_own_code()
        found = read_plan(ask(user, examine, f"the check of what user {user.name} may read", _nothing)[0])
        # What has read files of the user has no say in more.
        plan = plan._replace(name=plan.name if plan.chosen else found.name, rest=found.rest)
    return _bind(plan, user, sent, root=root)


def _names(word: str, path: str) -> bool:
    """Whether a word of the command line stands for a file: word for word, behind its option, or as a service of /etc."""
    named = path == f"/etc/jvmbind/{word}.toml" and "/" not in word
    return word in {path, f"--config={path}"} or (word[:1] == "-" and word.endswith(f"c{path}")) or named


def _nothing(path: str) -> int:
    msg = f"the plan of the service asks for {path!r}: expected no question"
    raise NotPermittedError(msg)


def _bind(plan: Plan, user: UserSpec, sent: tuple[int, ...], *, root: bool) -> Started:
    set_limits(plan.limits)
    name, control, why = plan.name, plan.made, ""
    if root:
        name, control, why = control_dir.make(plan.name, user, chosen=plan.chosen) if plan.control else (plan.name, "", "")
    owner = user if root else None
    listeners: list[Listener] = []
    try:
        announced, of_broker = passed(os.environ), () if root else sent  # root asks no broker
        adopted = [(spec, take(spec, fd, announced)) for spec, fd in plan.listeners if fd >= 0]
        adopted += [(spec, take(spec, sent[-2 - fd], of_broker)) for spec, fd in plan.listeners if -2 - len(sent) < fd < -1]
        listeners = bind_listeners([spec for spec, _ in plan.listeners], adopted, owner)
        drop_permanently(user.uid, user.gid, user.groups)
    except BaseException as error:
        # Whatever fails from the first bind on, nothing is left of it.
        release(listeners, owner)
        control_dir.leave(control)
        if isinstance(error, NotBoundError):
            _say(error)
        raise
    return Started(name, control, why, listeners, plan.rest, root, any(fd == 0 for _, fd in plan.listeners))


def _say(error: BaseException) -> None:
    """Let a child that has dropped find the words for a refusal, and end with its status."""
    uid = os.geteuid()

    def words(channel: Channel) -> bytes:
        if not isinstance(error, NotBoundError):
            raise error
        from jvmbind.posix.binding import refused  # noqa: PLC0415 - in a child that has dropped

        raise refused(error, uid, channel.open)

    caller = UserSpec(uid, os.getegid(), tuple(os.getgroups()), "", "", "")
    ask(NOBODY if uid == 0 else caller, words, "the search for a reason", open_holder)
