"""Which connections a stop waits for: the table in docs/reference.md, line by line. Pure."""

from __future__ import annotations

import pytest

from jvmbind.handover.traffic import Attention, Traffic

READS, WATCHES, NONE = Attention.READS, Attention.WATCHES, Attention.NONE
LONG_AGO = 60_000
SILENT = Traffic(WATCHES, sent=LONG_AGO, received=LONG_AGO, known=LONG_AGO)
QUIET_UNIX = Traffic(WATCHES, counted=False, known=LONG_AGO)

# What it is -> (the connection, whether a client is in the middle of an answer)
CASES = {
    "nothing was ever said": (SILENT, False),
    "nothing was ever said, and nobody looks": (SILENT._replace(attention=NONE), False),
    "a client that has connected just now": (SILENT._replace(sent=30, received=30), True),
    "a client that has connected, and gone": (SILENT._replace(closed=True, sent=30, received=30), False),
    "a greeting, then silence (SMTP)": (SILENT._replace(segments_out=1, sent=500), False),
    "a greeting just now": (SILENT._replace(segments_out=1, sent=20), True),
    "the first half of a request just now, a thread": (Traffic(READS, segments_in=1, received=20, sent=LONG_AGO), True),
    "a request that nobody has read": (Traffic(NONE, unread=80, segments_in=1, received=3), True),
    "a request in work": (Traffic(NONE, segments_in=1, received=LONG_AGO), True),
    "the third request in work": (Traffic(NONE, segments_in=3, segments_out=2, received=100, sent=900), True),
    "a request in work, the connection being watched (Netty)": (
        Traffic(WATCHES, segments_in=3, segments_out=2, received=100, sent=900),
        True,
    ),
    "asked and answered in one tick of the clock": (Traffic(NONE, segments_in=1, segments_out=1, received=5, sent=5), True),
    "an answer that was not taken yet": (Traffic(NONE, unsent=9000, segments_in=1, segments_out=9, received=500, sent=10), True),
    "an answer in pieces": (Traffic(NONE, segments_in=1, segments_out=4, received=5000, sent=300), True),
    "keep-alive, a selector": (Traffic(WATCHES, segments_in=2, segments_out=2, received=300, sent=299), False),
    "keep-alive, a thread": (Traffic(READS, segments_in=2, segments_out=2, received=300, sent=299), False),
    "keep-alive that nobody looks at": (Traffic(NONE, segments_in=2, segments_out=2, received=4000, sent=3999), False),
    "a client that has gone": (Traffic(NONE, closed=True, segments_in=1, received=100), False),
    "a client that has gone, its last words unread": (Traffic(READS, closed=True, unread=9, segments_in=1, received=100), False),
    "a client that has reset the connection, a request in work": (
        Traffic(NONE, closed=True, gone=True, segments_in=1, received=100),
        False,
    ),
    "a half-closed client that takes its answer": (Traffic(NONE, closed=True, unsent=9000, segments_in=1, segments_out=9), True),
    "one-way, a thread that reads (syslog)": (Traffic(READS, segments_in=900, received=2), False),
    "one-way, its last message unread": (Traffic(READS, unread=90, segments_in=900, received=0), True),
    "one-way, a selector (syslog, Netty)": (Traffic(WATCHES, segments_in=900, bytes_in=90_000, received=2), False),
    "one-way after a greeting (MQTT QoS 0, STOMP)": (
        Traffic(WATCHES, segments_in=20, segments_out=1, bytes_in=900, received=2, sent=9000),
        False,
    ),
    "a Unix socket, quiet": (QUIET_UNIX, False),
    "a Unix socket that nobody looks at: a request in work": (QUIET_UNIX._replace(attention=NONE), True),
    "a Unix socket, its client gone": (QUIET_UNIX._replace(attention=NONE, closed=True), False),
    "a Unix socket, a request unread": (QUIET_UNIX._replace(unread=9), True),
    "a Unix socket, looked at for the first time just now": (QUIET_UNIX._replace(known=20), True),
    "one-way, a few messages and long ago": (
        Traffic(WATCHES, segments_in=3, segments_out=1, received=LONG_AGO, sent=LONG_AGO + 9),
        False,
    ),
    "an upload (Netty)": (Traffic(WATCHES, segments_in=900, bytes_in=1_200_000, received=20), True),
    "an upload that has stopped": (Traffic(WATCHES, segments_in=900, bytes_in=1_200_000, received=4000), False),
    "long polling, off the watch list (Tomcat)": (Traffic(NONE, segments_in=5, segments_out=4, received=20_000, sent=20_010), True),
    "long polling, watched (Netty)": (Traffic(WATCHES, segments_in=5, segments_out=4, received=20_000, sent=20_010), False),
    "a websocket that the server writes to": (Traffic(WATCHES, segments_in=1, segments_out=90, received=LONG_AGO, sent=20), False),
    "a websocket whose client said the last word": (
        Traffic(WATCHES, segments_in=40, segments_out=2, bytes_in=2000, received=100, sent=LONG_AGO),
        False,
    ),
    "server-sent events, one each second or less": (
        Traffic(NONE, segments_in=1, segments_out=90, received=LONG_AGO, sent=1500),
        False,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_who_is_in_the_middle_of_an_answer(name: str) -> None:
    """Each kind of connection holds a stop, or does not, as the table says."""
    traffic, expected = CASES[name]
    assert traffic.in_work is expected


# Where no client is in the middle of an answer: what it is -> (the connection, whether a restart waits for a request)
REQUESTS = {
    "nothing was ever said": (SILENT, False),
    "a client that has connected a moment ago": (SILENT._replace(sent=700, received=700), True),
    "a client that has connected, and gone": (SILENT._replace(sent=700, received=700, closed=True), False),
    "a greeting a moment ago": (SILENT._replace(segments_out=1, sent=700), True),
    "accepted after it has waited for long, and not served yet": (SILENT._replace(attention=NONE, known=500), True),
    "forgotten": (SILENT._replace(attention=NONE, known=1200), False),
    "asked while it waited in the queue for long, watched and never answered": (SILENT._replace(segments_in=1, known=500), True),
    "the same, five seconds later": (SILENT._replace(segments_in=1, known=5100), False),
    "the same, one-way (syslog, Netty)": (SILENT._replace(segments_in=9, known=500), False),
    "the first half of a request, a thread": (Traffic(READS, segments_in=1, received=700, sent=LONG_AGO), True),
    "a handshake": (Traffic(WATCHES, segments_in=2, segments_out=2, received=701, sent=700), True),
    "a handshake that stopped": (Traffic(WATCHES, segments_in=2, segments_out=2, received=1300, sent=1299), False),
    "in the middle of a session of several questions": (
        Traffic(READS, segments_in=9, segments_out=9, received=301, sent=300),
        True,
    ),
    "the same, with a pause": (Traffic(READS, segments_in=9, segments_out=9, received=1201, sent=1200, known=50), False),
    "the same, with a pause, of a client that has asked often": (
        Traffic(READS, segments_in=90, segments_out=90, received=701, sent=700),
        False,
    ),
    "keep-alive after some requests": (Traffic(READS, segments_in=9, segments_out=9, received=301, sent=300, known=5500), False),
    "keep-alive after many requests": (Traffic(READS, segments_in=90, segments_out=90, received=301, sent=300, known=2500), False),
    "one-way, a thread that reads (syslog)": (Traffic(READS, segments_in=900, received=2, sent=LONG_AGO, known=2500), False),
    "half-closed or gone, a request unread": (Traffic(WATCHES, closed=True, unread=9, segments_in=1, received=100, sent=101), True),
    "half-closed or gone, a request in work": (Traffic(NONE, closed=True, segments_in=1, received=100, sent=101), True),
    "half-closed or gone, long ago": (Traffic(NONE, closed=True, segments_in=1, received=LONG_AGO, sent=LONG_AGO + 1), False),
    "gone, and seen by a reader": (Traffic(READS, closed=True, segments_in=1, received=100, sent=101), False),
    "reset, a request in work": (Traffic(NONE, closed=True, gone=True, segments_in=1, received=100, sent=101), False),
    "a Unix socket, quiet": (QUIET_UNIX, False),
    "a Unix socket, half-closed, a request in work": (QUIET_UNIX._replace(attention=NONE, closed=True, known=700), True),
    "a Unix socket, half-closed, long ago": (QUIET_UNIX._replace(attention=NONE, closed=True), False),
    "a Unix socket, looked at for the first time a moment ago": (QUIET_UNIX._replace(known=700), True),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_who_is_in_the_middle_of_a_request(name: str) -> None:
    """A restart waits for a request that may be on its way, for a second of silence at most, and a stop does not."""
    traffic, expected = REQUESTS[name]
    assert traffic.is_asking is expected
    assert not traffic.in_work


def test_a_client_that_never_pauses() -> None:
    """A connection on which request follows answer without a pause may be ended between two of them, after two seconds."""
    busy = Traffic(WATCHES, unsent=57, segments_in=465, segments_out=465, received=4, sent=4, known=2200, answers=40)
    assert busy.in_work
    assert busy.is_between_requests
    assert busy._replace(attention=READS).is_between_requests
    assert not busy._replace(attention=NONE).is_between_requests
    assert not busy._replace(segments_in=466).is_between_requests
    assert not busy._replace(unread=90).is_between_requests
    assert not busy._replace(known=1900).is_between_requests
    assert not busy._replace(answers=2).is_between_requests


def test_what_a_drained_generation_is_not_kept_for() -> None:
    """A connection whose client has ended it does not keep a replaced generation, unless its last request is in work."""
    assert Traffic(READS, closed=True).is_over
    assert Traffic(WATCHES, closed=True, segments_in=1, received=5).is_over
    assert not Traffic(NONE, closed=True, segments_in=1, received=5).is_over
    assert not Traffic(NONE, closed=True, unsent=1).is_over
    assert Traffic(NONE, closed=True, gone=True, segments_in=1, received=5).is_over
    assert not Traffic(WATCHES).is_over
