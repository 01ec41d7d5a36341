"""The sending half of a connection: what to send next, what to send again, and what the peer has acknowledged.

    una ............ nxt ................. queue.end
      in flight          waits for the window

`high` is the end of everything ever sent; it differs from `nxt` by the octet of a window probe, which counts as sent
only when the peer acknowledges it. There is no congestion window: the link is virtual, and the peer's window small.
Loss is found by the timer or by three duplicate acknowledgements, and repaired one segment per acknowledgement until
all that was in flight is acknowledged (the recovery of RFC 6582).
"""

from __future__ import annotations

from typing import Final, NamedTuple

from relay.wire.rto import Rto
from relay.wire.send_queue import SendQueue

_DUPLICATES: Final = 3  # RFC 5681 section 3.2


class Cut(NamedTuple):
    """A segment to be: where it starts, what it carries, whether the FIN is in it."""

    start: int
    payload: bytes | memoryview
    fin: bool


class Sender:
    """Positions of ours, from our SYN to our FIN."""

    __slots__ = (
        "_allowed",
        "_duplicates",
        "_recover",
        "_timed_at",
        "_timed_s",
        "_window_ack",
        "_window_seq",
        "finishing",
        "high",
        "largest_window",
        "max_payload",
        "mss",
        "nagle",
        "nxt",
        "queue",
        "rto",
        "tries",
        "una",
        "window",
    )

    def __init__(self, isn: int, mss: int, first_retransmit_s: float, *, nagle: bool) -> None:
        self.una = isn
        """The oldest position that is not acknowledged (SND.UNA)."""
        self.nxt = self.high = isn
        """The next position to send (SND.NXT), and the end of all that was ever sent."""
        self.window = self.largest_window = 0
        """What the peer offers, and the most that it has offered."""
        self.mss = self.max_payload = mss
        self.queue = SendQueue(isn + 1)
        self.finishing = False
        """Whether a FIN follows the last byte of the queue."""
        self.tries = 0
        """How often something was sent again, or a window probed, since the peer last answered."""
        self.nagle = nagle
        self.rto = Rto(first_retransmit_s)
        self._allowed = 0
        self._window_seq = self._window_ack = -1
        self._timed_at: int | None = None  # the segment whose round trip is measured ends here, and was sent
        self._timed_s = 0.0  # at this time
        self._duplicates = 0
        self._recover: int | None = None

    def take_mss(self, mss: int) -> None:
        """Send no larger payloads than this."""
        self.mss = mss
        self.max_payload = max(self._allowed, mss)

    def allow_payload(self, size_bytes: int) -> None:
        """Cut payloads of up to so many bytes."""
        self._allowed = size_bytes
        self.max_payload = max(size_bytes, self.mss)

    @property
    def in_flight(self) -> bool:
        """Whether anything waits for an acknowledgement."""
        return self.nxt > self.una

    @property
    def waiting(self) -> bool:
        """Whether there is something that was never sent."""
        return self.nxt < self.queue.end + self.finishing

    @property
    def fin_acknowledged(self) -> bool:
        """Whether the peer has acknowledged our FIN, and so everything."""
        return self.una > self.queue.end

    def cut(self, now_s: float, *, override: bool = False) -> Cut | None:
        """The next new segment, if the window and the rules against small segments let it go; it counts as sent.

        With `override` the window alone decides: those rules have held it back for long enough.
        """
        start, queue = self.nxt, self.queue
        waiting = queue.end - start
        usable = self.una + self.window - start
        if waiting > 0:
            size = min(waiting, usable, self.max_payload)
            if size < waiting:
                if size > self.mss:
                    size -= size % self.mss
                elif size < self.mss and (size <= 0 or (2 * size < self.largest_window and not override)):
                    return None  # MUST-38: a window this small is not worth a segment
            elif self.nagle and size < self.mss and start > self.una and not self.finishing:
                return None
            fin = self.finishing and size == waiting and size < usable
            payload = queue.cut(start, size)
        elif self.finishing and waiting == 0 and usable > 0:
            size, fin, payload = 0, True, b""
        else:
            return None
        self.advance(size + fin, now_s)
        return Cut(start, payload, fin)

    def advance(self, length: int, now_s: float) -> None:
        """Count the next `length` positions as sent."""
        self.nxt += length
        self.high = max(self.high, self.nxt)
        if self._timed_at is None:
            self._timed_at, self._timed_s = self.nxt, now_s

    def probe(self) -> Cut:
        """The next octet, whatever the window says; it does not count as sent."""
        self._timed_at = None
        self.tries += 1
        self.rto.back_off()
        fin = self.nxt == self.queue.end
        self.high = max(self.high, self.nxt + 1)
        return Cut(self.nxt, b"" if fin else self.queue.cut(self.nxt, 1), fin)

    def retransmit(self) -> Cut:
        """The oldest segment that is not acknowledged, once more. Not for our SYN."""
        self._timed_at = None  # Karn's algorithm
        if self._recover is None:
            self._recover = self.nxt
        size = min(self.mss, self.queue.end - self.una, self.nxt - self.una)
        fin = self.una + size == self.queue.end < self.nxt
        return Cut(self.una, self.queue.cut(self.una, size), fin)

    def time_out(self) -> None:
        """Count a timeout, and wait longer for the next one."""
        self._timed_at = None
        self._recover = self.nxt
        self.tries += 1
        self.rto.back_off()

    def acknowledge(self, ack: int, now_s: float) -> bool:
        """Take in that everything before `ack` has arrived; returns whether the next segment is to be sent again."""
        self.una = ack
        self.nxt = max(self.nxt, ack)
        queue = self.queue
        queue.release(min(ack, queue.end))
        self.tries = self._duplicates = 0
        if self._timed_at is not None and ack >= self._timed_at:
            self.rto.measure(now_s - self._timed_s)
            self._timed_at = None
        if self._recover is not None and ack >= self._recover:
            self._recover = None
        return self._recover is not None

    def duplicate(self) -> bool:
        """Count a duplicate acknowledgement; returns whether the oldest segment is to be sent again."""
        self._duplicates += 1
        return self._duplicates == _DUPLICATES and self._recover is None

    def update_window(self, seq: int, ack: int, window: int) -> None:
        """Take the window of a segment, unless a newer one's is known (RFC 9293 section 3.10.7.4, SND.WL1 and WL2)."""
        if (seq, ack) >= (self._window_seq, self._window_ack):
            if window and not self.window:
                self.rto.settle()
            self.window, self._window_seq, self._window_ack = window, seq, ack
            self.largest_window = max(self.largest_window, window)
