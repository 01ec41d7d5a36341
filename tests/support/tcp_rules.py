"""What a TCP may send, whatever it is sent: the rules that hold for every segment of ours (RFC 9293)."""

from __future__ import annotations

import math
import random
from typing import Final

from relay.wire.assembler import MOST_RANGES
from relay.wire.segment import ACK, FIN, RST, SYN, Segment
from relay.wire.sequence import MASK, position
from relay.wire.tcp import Seen, State, Tcp

_PERIOD: Final = 0x1_0000  # divides the sequence space, so that it goes on where numbers wrap
_TABLES: Final = tuple(random.Random(seed).randbytes(_PERIOD) * 3 for seed in (1, 2))  # noqa: S311
_MOST_IN_ONE_GO: Final = 65_535 // 48 + 20  # segments: a window of the smallest ones, and a few


def ours(at: int, size: int) -> bytes:
    """The octets of our stream, by sequence number."""
    at &= _PERIOD - 1
    return _TABLES[0][at : at + size]


def theirs(at: int, size: int) -> bytes:
    """The octets of the guest's stream."""
    at &= _PERIOD - 1
    return _TABLES[1][at : at + size]


class Rules:
    """Watches one connection; `check` raises AssertionError if it breaks a rule."""

    def __init__(self, tcp: Tcp) -> None:
        self._tcp = tcp
        self._edge: int | None = None  # of the window that was offered
        self._acknowledged: int | None = None
        self._fin_at: int | None = None
        self._sent_to = tcp.sender.high

    def check(self, arrived: Segment | None, seen: int) -> None:
        """After a verb, or after `arrived` was taken in, with what the verb returned."""
        tcp = self._tcp
        assert (tcp.state is State.CLOSED) >= bool(seen & Seen.CLOSED)
        sent = tcp.take_output()
        assert len(sent) <= _MOST_IN_ONE_GO
        assert not sent or tcp.state is not State.PENDING
        for segment in sent:
            self._check_segment(segment, arrived)
        self._sent_to = max(self._sent_to, tcp.sender.high)
        receiver, sender = tcp.receiver, tcp.sender
        assert receiver.unread <= len(receiver._buffer) <= 2 * tcp.stack.window
        assert receiver._arrived.gaps <= MOST_RANGES
        waits = tcp.state in {State.TIME_WAIT, State.FIN_WAIT_2} or tcp.reset_sent
        assert math.isinf(tcp.due_s) or sender.in_flight or sender.waiting or waits  # else time would end it
        assert sender.una <= sender.nxt <= sender.high <= sender.queue.end + 1 + (sender.una == sender.queue.start - 1)

    def check_time(self, now_s: float) -> None:
        """After all that was due was done."""
        due_s = self._tcp.next_deadline_s
        assert due_s is None or due_s > now_s
        assert self._tcp.state is not State.CLOSED or due_s is None

    def _check_segment(self, segment: Segment, arrived: Segment | None) -> None:
        flags, tcp = segment.flags, self._tcp
        assert 0 <= segment.seq <= MASK
        assert 0 <= segment.window <= 65_535
        assert not flags & ~(ACK | FIN | RST | SYN | 8)
        if arrived is not None and arrived.flags & RST:
            assert flags == ACK  # a RST is challenged, or it is not answered at all
        if flags & RST:
            assert flags in {RST, RST | ACK}
            assert not segment.payload
            return
        if flags & SYN:
            assert flags & ~ACK == SYN
            assert not segment.payload
        else:
            assert flags & ACK
            assert segment.mss is None
        if flags & ACK:
            self._check_ack(segment)
        start = position(segment.seq, tcp.sender.una)
        assert start <= tcp.sender.high
        if segment.payload:
            assert len(segment.payload) <= tcp.sender.max_payload
            assert bytes(segment.payload) == ours(segment.seq, len(segment.payload))
        self._check_window(start, segment)
        if flags & FIN:
            end = start + len(segment.payload)
            assert self._fin_at in {None, end}
            assert end == tcp.sender.queue.end
            self._fin_at = end

    def _check_ack(self, segment: Segment) -> None:
        ack = position(segment.ack, self._tcp.receiver.next)
        assert ack <= self._tcp.receiver.next
        edge = ack + segment.window
        if self._acknowledged is not None and self._edge is not None and not segment.flags & SYN:
            assert ack >= self._acknowledged
            assert edge >= self._edge  # SHLD-14
        self._acknowledged, self._edge = ack, edge

    def _check_window(self, start: int, segment: Segment) -> None:
        """What is new stays within the largest window that the guest has offered, but for the octet of a probe."""
        sender, end = self._tcp.sender, start + segment.length
        if end > self._sent_to and not segment.flags & SYN:
            assert end - start <= 1 or end <= sender.una + sender.largest_window
