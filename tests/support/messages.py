"""Every message that somebody can see, found in the source; `python tests/support/messages.py` writes docs/messages.md anew.

Run by hand, and by tests/unit/test_messages.py. Reads jvmbind's source and imports nothing of it. A message is each text of
three words or more that is not a docstring, help text or pattern. What is to be done about it is written by hand, in the last
column of the page, and kept.
"""

from __future__ import annotations

import ast
import functools
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "messages.md"
STATUS = {
    "UsageError": 64,
    "PortUnavailableError": 69,
    "SystemFailureError": 71,
    "RefusedError": 75,
    "NotPermittedError": 77,
    "ConfigurationError": 78,
    "JavaLaunchError": 1,
}
LEVELS = ("info", "warning", "error")
# What is not a message: help texts, patterns, and texts for programs.
_SKIPPED_CALLS = {
    "add_argument",
    "Option",
    "ArgumentParser",
    "_Parser",
    "compile",
    "cast",
    "TypeVar",
    "NamedTuple",
    "search",
    "sub",
    "gauge",
    "counter",
    "GaugeMetricFamily",
    "SummaryMetricFamily",
}
_SKIPPED_NAMES = {"_HELP", "_DESCRIPTION", "COMMANDS", "usage", "__all__", "_JAVA", "_SOURCE"}
_SKIPPED_KEYWORDS = {"help", "description", "usage", "words", "extra"}
# What these say is the reason for which a request is answered with status 75.
REFUSE = {
    "supervisor/dump.py",
    "supervisor/replan.py",
    "supervisor/changes.py",
    "supervisor/loop.py",
    "lifecycle/reload.py",
    "lifecycle/start.py",
}
_WORD = re.compile(r"[A-Za-z][A-Za-z'-]+")


class Message(NamedTuple):
    """One message: `text` has <...> where something is filled in; `kind` is a class of error, a level, or "" for a part."""

    kind: str
    text: str
    module: str


@functools.cache
def find() -> list[Message]:
    """Return all messages, by kind, module and place."""
    found: list[Message] = []
    for path in sorted((ROOT / "jvmbind").rglob("*.py")):
        module = path.relative_to(ROOT / "jvmbind").as_posix()
        if module.startswith("units/"):
            continue  # the text of unit files, which is for systemd
        tree = ast.parse(path.read_text("utf-8"))
        parents = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
        for node in ast.walk(tree):
            text = _text(node, parents)
            if text and not _is_skipped(node, parents):
                kind = _kind(node, parents)
                found.append(Message("RefusedError" if not kind and module in REFUSE else kind, text, module))
    order = [*STATUS, *LEVELS, "ExpectedError", ""]
    return sorted(dict.fromkeys(found), key=lambda one: order.index(one.kind) if one.kind in order else len(order))


def _text(node: ast.AST, parents: dict[ast.AST, ast.AST]) -> str:
    if isinstance(parents.get(node), ast.JoinedStr | ast.FormattedValue):
        return ""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        text = node.value
    elif isinstance(node, ast.JoinedStr):
        text = "".join(str(part.value) if isinstance(part, ast.Constant) else _filled(part) for part in node.values)
    else:
        return ""
    text = " ".join(text.split())
    lower = [word for word in _WORD.findall(text) if not word.isupper()]
    least = 1 if _kind(node, parents) else 3
    return text if len(lower) >= least and " " in text else ""


def _filled(part: ast.expr) -> str:
    """Return the name of what is filled in, in angle brackets."""
    value = part.value if isinstance(part, ast.FormattedValue) else part
    while isinstance(value, ast.Subscript | ast.Call) and not isinstance(value, ast.Name):
        value = value.value if isinstance(value, ast.Subscript) else value.func
    if isinstance(value, ast.Attribute):
        return f"<{value.attr.lower().strip('_')}>" if value.attr != "join" else "<...>"
    return f"<{value.id.lower().strip('_')}>" if isinstance(value, ast.Name) else "<...>"


def _above(node: ast.AST, parents: dict[ast.AST, ast.AST]) -> Iterator[ast.AST]:
    while node in parents:
        node = parents[node]
        yield node


def _name(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else call.func.id if isinstance(call.func, ast.Name) else ""


def _is_skipped(node: ast.AST, parents: dict[ast.AST, ast.AST]) -> bool:
    if isinstance(parents.get(node), ast.Expr):
        return True  # a docstring
    for above in _above(node, parents):
        if isinstance(above, ast.Call) and _name(above) in _SKIPPED_CALLS:
            return True
        if isinstance(above, ast.keyword) and above.arg in _SKIPPED_KEYWORDS:
            return True
        if isinstance(above, ast.Assign | ast.AnnAssign):
            targets = above.targets if isinstance(above, ast.Assign) else [above.target]
            if {target.id for target in targets if isinstance(target, ast.Name)} & _SKIPPED_NAMES:
                return True
        if isinstance(above, ast.FunctionDef):
            return False
    return False


def _of_call(call: ast.Call) -> str:
    name = _name(call)
    if name in LEVELS and isinstance(call.func, ast.Attribute) and ast.unparse(call.func.value).endswith("log"):
        return name
    if name == "refuse" and isinstance(call.func, ast.Name):
        return "ConfigurationError"
    return name if name.endswith("Error") and name != "getattr" else ""


def _kind(node: ast.AST, parents: dict[ast.AST, ast.AST]) -> str:
    """Return what the text is given to: at once, or by the next call that takes the name it was assigned to."""
    for above in _above(node, parents):
        if isinstance(above, ast.Call) and _of_call(above):
            return _of_call(above)
        if isinstance(above, ast.Assign) and isinstance(above.targets[0], ast.Name):
            return _given(above.targets[0].id, above, parents)
        if isinstance(above, ast.stmt):
            return ""
    return ""


def _given(name: str, assign: ast.Assign, parents: dict[ast.AST, ast.AST]) -> str:
    scope = next((above for above in _above(assign, parents) if isinstance(above, ast.FunctionDef)), None)
    calls = [node for node in ast.walk(scope) if isinstance(node, ast.Call) and node.lineno >= assign.lineno] if scope else []
    for call in sorted(calls, key=lambda one: (one.lineno, one.col_offset)):
        takes = any(isinstance(argument, ast.Name) and argument.id == name for argument in call.args)
        if takes and _of_call(call):
            return _of_call(call)
    return ""


SECTIONS = (
    ("UsageError", "Status 64: the command line cannot be understood"),
    ("PortUnavailableError", "Status 69: an address or a service cannot be had"),
    ("SystemFailureError", "Status 71: a system call failed, or something is missing here"),
    ("RefusedError", "Status 75: the service did not do what it was asked for"),
    ("NotPermittedError", "Status 77: not permitted"),
    ("ConfigurationError", "Status 78: the configuration does not fit this machine"),
    ("ExpectedError", "Status 78, or 64 on the command line: what a value is expected to be"),
    ("JavaLaunchError", "Status 1: the words of java"),
    ("error", "Log: errors"),
    ("warning", "Log: warnings"),
    ("info", "Log: information"),
    ("", "Parts: reasons, remarks, and what is waited for"),
    ("other", "For programs"),
)
INTRODUCTION = """# Messages

Every text that jvmbind can show, where it comes from and what to do about it.
Words in angle brackets, and `%s` and its like, stand for what is filled in.
A message on standard error begins with `jvmbind: `, is one line and says what, where and, behind *expected*, what would be right.
Where that is all there is to do, the last column is empty.
Exit statuses are in the [reference](reference.md#exit-status).

This page is made from the source by `python tests/support/messages.py`; the last column is written by hand and kept.
A test holds it complete.
"""


def section(message: Message) -> str:
    """Return the kind under which a message is listed."""
    return message.kind if message.kind in dict(SECTIONS) else "other"


def cell(text: str) -> str:
    """Return a text as it stands in a table."""
    return "`" + text.replace("\0", "<user>").replace("|", "\\|").replace("`", "'") + "`"


def read_page() -> dict[str, str]:
    """Return what is written by hand of each message of the page."""
    rows = re.findall(r"^\| (`.*`) \| `[^`]*` \| ?(.*) ?\|$", PAGE.read_text("utf-8"), re.MULTILINE) if PAGE.exists() else []
    return {text: meaning.strip() for text, meaning in rows}


def page(meanings: dict[str, str]) -> str:
    """Return the page."""
    messages, parts = find(), [INTRODUCTION]
    for kind, title in SECTIONS:
        rows: dict[str, list[str]] = {}
        for message in messages:
            if section(message) == kind:
                rows.setdefault(cell(message.text), []).append(message.module)
        parts.append(f"## {title}\n\n| message | from | what to do |\n|---|---|---|\n")
        parts[-1] += "".join(f"| {text} | `{', '.join(found)}` | {meanings.get(text, '')} |\n" for text, found in rows.items())
    return "\n".join(parts)


def lacks_meaning(message: Message, meanings: dict[str, str]) -> bool:
    """Whether a message neither says itself what to do nor has it written beside it; parts of others need not."""
    if section(message) in {"", "other", "ExpectedError"} or re.search("expected|requires", message.text):
        return False
    return not meanings.get(cell(message.text))


def main() -> None:
    """Write the page, and name what has no meaning yet."""
    meanings = read_page()
    PAGE.write_text(page(meanings), "utf-8")
    for message in find():
        if lacks_meaning(message, meanings):
            sys.stdout.write(f"what to do is missing: {message.text}\n")


if __name__ == "__main__":
    main()
