"""A connection from its SYN to its end, the shortest way."""

from __future__ import annotations

from relay.legs import BROKEN, WOULD_BLOCK
from relay.stack import Stack
from relay.wire.segment import ACK, FIN, PSH, RST, SYN, Segment
from relay.wire.tcp import Seen, Tcp


def _read(tcp: Tcp) -> bytes:
    view = memoryview(bytearray(100))
    return bytes(view[: max(tcp.read_into(view), 0)])


def _open(**settings: object) -> Tcp:
    tcp = Tcp.answering(Stack.of({"ack": "each", **settings}), Segment(100, 0, SYN, 64240, mss=1460), 700, 0.0)
    assert tcp.take_output() == []
    tcp.on_segment(Segment(100, 0, SYN, 64240, mss=1460), 0.1)
    assert tcp.take_output() == []
    tcp.grant(0.2)
    assert tcp.take_output() == [Segment(700, 101, SYN | ACK, 64240, mss=1460)]
    assert tcp.on_segment(Segment(101, 701, ACK, 64240), 0.2) == Seen.ESTABLISHED
    assert tcp.take_output() == []
    assert tcp.next_deadline_s is None
    return tcp


def test_both_ways_and_to_the_end() -> None:
    tcp = _open()
    assert tcp.on_segment(Segment(101, 701, ACK | PSH, 64240, b"hello"), 1.0) == Seen.READABLE
    assert tcp.take_output() == [Segment(701, 106, ACK, 64240)]
    assert _read(tcp) == b"hello"
    assert tcp.read_into(memoryview(bytearray(10))) == WOULD_BLOCK
    tcp.send(b"world", 1.1)
    assert tcp.take_output() == [Segment(701, 106, ACK | PSH, 64240, b"world")]
    assert tcp.next_deadline_s == 2.1
    tcp.on_deadline(2.1)
    assert tcp.take_output() == [Segment(701, 106, ACK | PSH, 64240, b"world")]
    tcp.on_segment(Segment(106, 706, ACK, 64240), 2.2)
    assert tcp.unacked_bytes == 0
    assert tcp.on_segment(Segment(106, 706, ACK | FIN, 64240), 2.3) == Seen.FIN
    assert tcp.take_output() == [Segment(706, 107, ACK, 64240)]
    assert tcp.read_into(memoryview(bytearray(10))) == 0
    tcp.finish(2.4)
    assert tcp.take_output() == [Segment(706, 107, ACK | FIN, 64240)]
    assert tcp.on_segment(Segment(107, 707, ACK, 64240), 2.5) == Seen.CLOSED


def test_a_reset_from_either_side_ends_it() -> None:
    tcp = _open()
    assert tcp.reset(1.0) == Seen.CLOSED
    assert tcp.take_output() == [Segment(701, 0, RST, 64240)]
    tcp = _open()
    assert tcp.on_segment(Segment(101, 0, RST, 0), 1.0) == Seen.RST | Seen.CLOSED
    assert tcp.take_output() == []
    assert tcp.read_into(memoryview(bytearray(10))) == BROKEN


def test_a_refusal_is_a_stray_answer() -> None:
    tcp = Tcp.answering(Stack.of({"stray_window": 32767}), Segment(100, 0, SYN, 64240), 700, 0.0)
    assert tcp.refuse(0.1) == Seen.CLOSED
    assert tcp.take_output() == [Segment(0, 101, RST | ACK, 32767)]


def test_an_inbound_connection_dials_the_guest() -> None:
    tcp = Tcp.opening(Stack(), 700, 0.0)
    assert tcp.take_output() == [Segment(700, 0, SYN, 64240, mss=1460)]
    tcp.send(b"early", 0.1)
    assert tcp.on_segment(Segment(100, 701, SYN | ACK, 1000, mss=1000), 0.2) == Seen.ESTABLISHED
    assert tcp.take_output() == [
        Segment(701, 101, ACK | PSH, 64240, b"early"),
    ]


def test_a_marked_segment_is_withheld_and_answered_as_the_article_shows() -> None:
    tcp = _open(first_retransmit_s=0.1025)
    tcp.watch_tos(0xE0)
    tcp.send(b"x" * 44, 1.0)
    assert len(tcp.take_output()) == 1
    assert tcp.on_segment(Segment(101, 745, ACK | PSH, 64240, b"y" * 392, tos=0x48), 1.0001) == Seen.TOS
    tcp.reset(1.0002)
    assert tcp.take_output() == [Segment(745, 0, RST, 64240)]
    assert tcp.next_deadline_s == 1.1025
    tcp.on_deadline(1.1025)
    assert tcp.take_output() == [Segment(701, 101, ACK | PSH, 64240, b"x" * 44)]
    assert tcp.on_segment(Segment(101, 0, RST, 0), 1.1026) == Seen.RST | Seen.CLOSED
