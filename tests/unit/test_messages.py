"""The list of all messages is complete, in both directions. Reads the source and docs/messages.md; imports nothing of jvmbind."""

from __future__ import annotations

import re

from support import messages

TEXT = messages.PAGE.read_text("utf-8")


def test_the_page_is_what_the_source_says() -> None:
    """Every message of the source is on the page and every row of the page is in the source: `python tests/support/messages.py`."""
    rows = set(re.findall(r"^\| (`.*`) \| `([^`]*)` \|", TEXT, re.MULTILINE))
    found: dict[tuple[str, str], list[str]] = {}
    for message in messages.find():
        found.setdefault((messages.section(message), messages.cell(message.text)), []).append(message.module)
    expected = {(text, ", ".join(modules)) for (_, text), modules in found.items()}

    how = "write the page anew by `python tests/support/messages.py`, and what to do into its last column"
    assert expected - rows == set(), how
    assert rows - expected == set(), how
    assert messages.page(messages.read_page()) == TEXT, how


def test_each_says_what_to_do() -> None:
    """A message that ends a command, or is a line of the log, says what to do, or the page does."""
    meanings = messages.read_page()

    assert [message.text for message in messages.find() if messages.lacks_meaning(message, meanings)] == []
    assert len(meanings) > 300


def test_nothing_is_overlooked() -> None:
    """What runs write in other tests is found where it is written: an error, a log line, a note, a reason, a hint."""
    found = {message.text for message in messages.find()}
    for words in (
        "started as root without --user",
        "generation %d is ready",
        "there is no jar",
        "the application has not bound listener",
        "does not handle SIGQUIT",
        "address already in use",
        "not set in the caller's environment",
        "one of <...>, or http",
    ):
        assert any(words in text for text in found), words


def test_plain_words() -> None:
    """No message speaks of an error without a cause, shouts, or begs."""
    for message in messages.find():
        assert not re.search(
            r"!|[Pp]lease(?! download)|\boops\b|unknown error|something went wrong", message.text.replace("#!/bin/sh", "")
        )
