"""Whether a client is in the middle of an answer or of a request, by what the kernel shows of its connection. Pure.

No protocol is known here, so nothing is certain; a stop waits for what looks like an answer in the making for
stop_drain_timeout at most, a restart for drain_timeout. What is told apart, and how, is a table in docs/reference.md.
Sources: tcp(7) on TCP_INFO, ioctl_tcp's SIOCINQ and SIOCOUTQ, proc(5), epoll(7).
"""

from __future__ import annotations

import enum

from jvmbind.record import NamedTuple

_SAME_MOMENT = 20  # milliseconds in which two times of TCP_INFO may be one tick of the kernel's clock
_PAUSE = 1000  # milliseconds between two pieces of an answer that is made bit by bit
_LONG = 5000  # milliseconds; who has waited for so long already is not about to be answered
_BULK = 1000  # bytes a segment: an upload, where messages are smaller
_ON_ITS_WAY = 100  # milliseconds between a connection and its first words, or between two parts of a request: of a machine
_THINKING = 1000  # the same, of a slow client or over a slow network
_SESSION, _KEPT = 5000, 2000  # the same, for a whole session, by whether the client has asked _SHORT times so far
_SHORT = 40
_FEW = 3  # segments that a client sends before its first request is complete: the handshake of TLS, a login


class Attention(enum.Enum):
    """What the application does with a connection at this moment."""

    READS = 1  # a thread sits in a call for input on it
    WATCHES = 2  # an epoll instance waits for input on it
    NONE = 3  # neither: a server that takes one request after the other has it in work, or has forgotten it


class Traffic(NamedTuple):
    """A connection: bytes in its two queues, its past in milliseconds and segments with data, and the application's attention.

    Where nothing was sent or received yet, the kernel counts from the moment in which the connection was made.
    """

    attention: Attention
    closed: bool = False  # the client has ended its direction; mostly it has gone
    gone: bool = False  # it has for certain: nothing can be sent to it
    unread: int = 0
    unsent: int = 0
    sent: int = 0  # ago
    received: int = 0  # ago
    segments_in: int = 0
    segments_out: int = 0
    bytes_in: int = 0
    known: int = 0  # since it was looked at for the first time
    answers: int = 0  # segments_out since then
    counted: bool = True  # whether the kernel counts; on a Unix socket it shows the queues alone

    @property
    def has_asked(self) -> bool:
        """Whether something came in after the last thing that went out."""
        if not self.counted:
            return self.attention is Attention.NONE
        if not self.segments_in:
            return False
        if not self.segments_out or self.received < self.sent:
            return True
        return self.received == self.sent and self.received < _SAME_MOMENT

    @property
    def in_work(self) -> bool:
        """Whether the client is in the middle of an answer, or its request is on its way: what a stop waits for."""
        if self.gone:
            return False
        if self.unsent or self._speaks_within(_ON_ITS_WAY):
            return True
        if self.closed or self.attention is Attention.READS:
            return bool(self.unread) and not self.closed
        if self.unread:
            return True
        if not self.has_asked:  # an answer in pieces
            return self.attention is Attention.NONE and bool(self.segments_in and self.segments_out) and self.sent < _PAUSE
        return self.attention is Attention.NONE or self._may_be_answered

    @property
    def is_asking(self) -> bool:
        """Whether the client may be in the middle of its request: what a restart waits for besides.

        A client that has ended its direction after its request waits for the answer, or has gone; only time tells.
        """
        if self.gone:
            return False
        if self.closed:
            heard = self.received if self.counted else self.known
            return self.has_asked and heard < _LONG and (bool(self.unread) or self.attention is Attention.NONE)
        if self._speaks_within(_THINKING) or self._may_have_queued:
            return True
        silent = min(self.sent, self.received)
        if self.segments_in and self.known < self._patience and silent < self._patience / 5:
            return True
        return 0 < self.segments_in <= _FEW and silent < _THINKING

    @property
    def _may_have_queued(self) -> bool:
        """Whether it has asked and was never answered: its words may have waited in the queue, for as long as a start took."""
        return self.counted and 0 < self.segments_in <= _FEW and not self.segments_out and self.known < _LONG

    @property
    def _patience(self) -> int:
        """Milliseconds from the drain on in which a session of several questions may come to its own end."""
        return _SESSION if self.segments_in <= _SHORT else _KEPT

    @property
    def is_between_requests(self) -> bool:
        """Whether an answer is out and the next request has not come, on a connection on which they follow one another.

        Such a client is never seen to pause: what is on its way in the kernel counts as unsent, and both times of TCP_INFO
        are of one tick. So its segments are counted; a server that works on a request does not look at the connection,
        or else this may be wrong, as may be whatever else ends a connection that is kept.
        """
        if self.known < self._patience or self.answers < _FEW or self.attention is Attention.NONE or self.unread:
            return False
        return not self.has_asked or (self.received == self.sent and self.segments_in <= self.segments_out)

    def _speaks_within(self, pause: int) -> bool:
        """Whether first words, or the rest of a request, may still come, after a pause of so many milliseconds at most."""
        if self.closed:
            return False
        if self.segments_in:
            return self.has_asked and self.received < pause and self.segments_in <= 2 * self.segments_out + _FEW
        silent = min(self.sent, self.received) if self.counted else self.known
        if self.attention is Attention.NONE:  # it may have waited for long until it was accepted, and is not served yet
            silent = min(silent, self.known)
        return silent < pause

    @property
    def _may_be_answered(self) -> bool:
        """Of a connection that is watched while it waits: whether it asks and is answered, rather than only sends."""
        if self.received >= _LONG:
            return False
        if self.segments_in <= 2 * self.segments_out + _FEW:
            return True
        return self.bytes_in >= _BULK * self.segments_in and self.received < _PAUSE

    @property
    def is_over(self) -> bool:
        """Whether nothing more will be said on it: its client has ended it, and no answer is being made."""
        if self.gone:
            return True
        return self.closed and not self.unsent and not (self.has_asked and self.attention is Attention.NONE)
