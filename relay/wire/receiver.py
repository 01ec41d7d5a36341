"""The receiving half of a connection: what has arrived, what was read of it, and how much more may come.

    start ........ next ............... right
      unread bytes      the window offered

The window stays at its full size until as much again is unread; then it closes with what arrives, and its right edge
never moves back (RFC 9293 SHLD-14). Once it has been short, it opens in steps worth a segment (MUST-39).
"""

from __future__ import annotations

from relay.wire.assembler import Assembler


class Receiver:
    """Bytes of the peer's, by position, from its SYN to its FIN."""

    __slots__ = (
        "_arrived",
        "_buffer",
        "_capacity",
        "_fin_at",
        "_full_window",
        "_has_offered",
        "_mss",
        "_start",
        "finished",
        "next",
        "right",
    )

    def __init__(self, window: int) -> None:
        """Offer `window` bytes."""
        self._full_window = window
        self._capacity = 2 * window
        self.start(0, window)

    def start(self, first: int, mss: int) -> None:
        """Expect the position `first`, and nothing else from before."""
        self.next = first
        """The next position expected (RCV.NXT)."""
        self.right = first + min(self._full_window, self._capacity)
        """The right edge of the window, as the peer knows it: RCV.NXT + RCV.WND."""
        self.finished = False
        """Whether everything has arrived, up to and including the peer's FIN."""
        self._arrived = Assembler(first)
        self._buffer = bytearray()
        self._start = first
        self._fin_at: int | None = None
        self._has_offered = False
        self._mss = mss

    @property
    def unread(self) -> int:
        """How many bytes can be read now."""
        return self._arrived.next - self._start

    @property
    def has_gaps(self) -> bool:
        """Whether something beyond a gap has arrived."""
        return self._arrived.gaps > 0

    def limit(self, size_bytes: int) -> None:
        """Limit the offer to what makes `size_bytes` unread; what was offered before is not taken back."""
        self._capacity = min(size_bytes, 2 * self._full_window)
        if not self._has_offered:
            self.right = self.next

    def take(self, at: int, payload: bytes | memoryview) -> None:
        """Take in what arrived at the position `at`, as far as it is new and within the window."""
        arrived = self._arrived
        end = at + len(payload)
        if at != arrived.next or arrived.gaps or end > self.right or self._fin_at is not None:
            if at < arrived.next:
                payload, at = payload[arrived.next - at :], arrived.next
            right = self.right if self._fin_at is None else min(self.right, self._fin_at)
            if end > right:
                payload, end = payload[: max(right - at, 0)], right
            if at >= end or not arrived.insert(at, end):
                return
            buffer, offset = self._buffer, at - self._start
            if offset > len(buffer):
                buffer.extend(bytes(offset - len(buffer)))
            buffer[offset : offset + len(payload)] = payload
            self.next = arrived.next
            self._find_fin()
            return
        self._buffer += payload
        arrived.next = self.next = end

    def take_fin(self, at: int) -> None:
        """Take in that the peer's FIN is at the position `at`, which may be beyond a gap."""
        if self._fin_at is None and self._arrived.next <= at < self.right:
            self._fin_at = at
            self._find_fin()

    def read_into(self, view: memoryview) -> int:
        """Read what there is, as far as it fits; returns how many bytes."""
        buffer = self._buffer
        size = min(len(view), self._arrived.next - self._start)
        if size == len(buffer):
            view[:size] = buffer
            buffer.clear()
        else:
            view[:size] = memoryview(buffer)[:size]
            del buffer[:size]
        self._start += size
        return size

    def offer(self) -> int:
        """The window to put into a segment that is about to be sent."""
        self._has_offered = True
        right = self.next + self._full_window
        room = self._start + self._capacity
        if right > room:
            right = room if room - self.right >= min(self._mss, self._capacity // 2) else self.right
        self.right = max(self.right, right)
        return self.right - self.next

    def has_reopened(self) -> bool:
        """Whether reading has made so much room that the peer must hear of it."""
        opening = min(self.next + self._full_window, self._start + self._capacity) - self.right
        return not self.finished and opening >= max(1, min(self._full_window, self._capacity) // 2)

    def _find_fin(self) -> None:
        if self._arrived.next == self._fin_at and not self.finished:
            self.finished = True
            self.next += 1
