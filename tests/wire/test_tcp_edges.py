"""The verbs of a connection where there is nothing for them to do, and what is asked of it meanwhile."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from relay.legs import BROKEN, WOULD_BLOCK
from relay.stack import Stack
from relay.wire.segment import ACK, FIN, PSH, RST, SYN, Segment
from relay.wire.tcp import Seen, State, Tcp

ISN, GUEST_ISN = 700, 100
VERBS: dict[str, Callable[[Tcp], int]] = {
    "grant": lambda tcp: tcp.grant(9.0),
    "refuse": lambda tcp: tcp.refuse(9.0),
    "send": lambda tcp: tcp.send(b"late", 9.0),
    "finish": lambda tcp: tcp.finish(9.0),
    "close": lambda tcp: tcp.close(9.0),
    "reset": lambda tcp: tcp.reset(9.0),
    "let_through": lambda tcp: tcp.let_through(9.0),
    "on_deadline": lambda tcp: tcp.on_deadline(9.0),
    "on_segment": lambda tcp: tcp.on_segment(Segment(GUEST_ISN + 1, ISN + 1, ACK, 1000, b"late"), 9.0),
}


def opened(**settings: object) -> Tcp:
    """An established connection."""
    tcp = Tcp.answering(Stack.of(settings), Segment(GUEST_ISN, 0, SYN, 64_240, mss=1460), ISN, 0.0)
    tcp.grant(0.0)
    tcp.on_segment(Segment(GUEST_ISN + 1, ISN + 1, ACK, 64_240), 0.0)
    tcp.take_output()
    return tcp


def read(tcp: Tcp, size: int = 100) -> int:
    return tcp.read_into(memoryview(bytearray(size)))


@pytest.mark.parametrize("verb", VERBS)
def test_after_the_end_no_verb_does_anything(verb: str) -> None:
    tcp = opened()
    tcp.on_segment(Segment(GUEST_ISN + 1, ISN + 1, ACK | PSH, 64_240, b"unread"), 1.0)
    tcp.on_segment(Segment(GUEST_ISN + 7, 0, RST), 1.0)
    assert VERBS[verb](tcp) == 0
    tcp.limit_window(10)
    tcp.answer_probe()
    tcp.set_keepalive(1, 1, 1, 9.0)
    assert (tcp.state, tcp.take_output(), tcp.next_deadline_s) == (State.CLOSED, [], None)
    assert (tcp.unread_bytes, read(tcp), read(tcp)) == (6, 6, BROKEN)


@pytest.mark.parametrize("verb", ["grant", "refuse", "let_through", "on_deadline"])
def test_what_is_for_another_state_does_nothing(verb: str) -> None:
    tcp = opened()
    assert VERBS[verb](tcp) == 0
    assert (tcp.state, tcp.take_output(), tcp.next_deadline_s) == (State.ESTABLISHED, [], None)


def test_a_connection_that_pends_is_mute_whatever_its_owner_does() -> None:
    tcp = Tcp.answering(Stack(), Segment(GUEST_ISN, 0, SYN, 64_240), ISN, 0.0)
    tcp.send(b"early", 0.0)
    tcp.finish(0.0)
    tcp.answer_probe()
    tcp.limit_window(1 << 20)
    tcp.set_keepalive(1, 1, 1, 0.0)
    for now_s in range(1, 20):
        tcp.on_deadline(float(now_s))
    assert (tcp.take_output(), read(tcp), tcp.state) == ([], WOULD_BLOCK, State.PENDING)


def test_a_connection_that_pends_has_nothing_that_waits_to_be_sent() -> None:
    tcp = Tcp.answering(Stack(), Segment(GUEST_ISN, 0, SYN, 64_240), ISN, 0.0)
    assert tcp.waiting_bytes == 0
    tcp.send(b"early", 0.0)
    assert tcp.waiting_bytes == 5
    assert Tcp.opening(Stack(), ISN, 0.0).waiting_bytes == 0


def test_a_connection_that_pends_is_forgotten_by_close_and_refused_by_reset() -> None:
    pending = [Tcp.answering(Stack(), Segment(GUEST_ISN, 0, SYN, 64_240), ISN, 0.0) for _ in range(2)]
    assert pending[0].close(0.0) == pending[1].reset(0.0) == Seen.CLOSED
    assert pending[0].take_output() == []
    assert pending[1].take_output() == [Segment(0, GUEST_ISN + 1, RST | ACK, 0)]


def test_a_syn_with_fin_that_does_not_dial_cannot_be_refused_either() -> None:
    tcp = Tcp.answering(Stack.of({"syn_fin_dials": False}), Segment(GUEST_ISN, 0, SYN | FIN), ISN, 0.0)
    assert tcp.refuse(0.0) == Seen.CLOSED
    assert tcp.take_output() == []


def test_a_dial_may_be_reset_before_it_is_answered() -> None:
    tcp = Tcp.opening(Stack(), ISN, 0.0)
    tcp.take_output()
    assert tcp.reset(0.1) == Seen.CLOSED
    assert tcp.take_output() == []


def test_nothing_is_sent_behind_a_fin() -> None:
    tcp = opened()
    tcp.finish(1.0)
    tcp.send(b"late", 1.0)
    tcp.finish(1.0)
    assert [segment.flags for segment in tcp.take_output()] == [FIN | ACK]
    assert tcp.unacked_bytes == 0


def test_a_link_that_cuts_segments_itself_gets_whole_multiples_of_the_mss() -> None:
    tcp = opened()
    tcp.set_max_payload(60_000)
    tcp.send(bytes(100_000), 1.0)
    assert [len(segment.payload) for segment in tcp.take_output()] == [59_860, 4380]
    assert tcp.mss == 1460
    tcp.on_segment(Segment(GUEST_ISN + 1, ISN + 1 + 64_240, ACK, 64_240), 1.1)
    assert [len(segment.payload) for segment in tcp.take_output()] == [35_760]


def test_what_a_link_takes_is_remembered_until_the_guest_has_said_its_mss() -> None:
    tcp = Tcp.opening(Stack(), ISN, 0.0)
    tcp.set_max_payload(60_000)
    tcp.on_segment(Segment(GUEST_ISN, ISN + 1, SYN | ACK, 64_240, mss=1000), 0.1)
    tcp.take_output()
    tcp.send(bytes(20_000), 0.2)
    assert [len(segment.payload) for segment in tcp.take_output()] == [20_000]
    assert tcp.mss == 1000


def test_a_link_that_was_asked_for_little_gets_the_mss() -> None:
    tcp = opened()
    tcp.set_max_payload(10)
    tcp.send(bytes(1500), 1.0)
    assert [len(segment.payload) for segment in tcp.take_output()] == [1460, 40]


def test_room_is_reported_when_it_is_back() -> None:
    tcp = opened()
    assert tcp.has_room
    tcp.send(bytes(200_000), 1.0)
    assert not tcp.has_room
    seen, at = [], ISN + 1
    while tcp.unacked_bytes:
        at += sum(len(segment.payload) for segment in tcp.take_output())
        seen.append(tcp.on_segment(Segment(GUEST_ISN + 1, at, ACK, 64_240), 1.0))
    assert seen.count(Seen.ROOM) == 1
    assert tcp.has_room


def test_what_is_withheld_is_the_callers_no_more() -> None:
    tcp, payload = opened(), bytearray(b"marked")
    tcp.watch_tos(0xE0)
    tcp.on_segment(Segment(GUEST_ISN + 1, ISN + 1, ACK, 64_240, memoryview(payload), tos=0x48), 1.0)
    payload[:] = b"reused"
    tcp.let_through(1.0)
    buffer = memoryview(bytearray(10))
    assert bytes(buffer[: tcp.read_into(buffer)]) == b"marked"


def test_the_mark_is_watched_again_after_one_was_let_through() -> None:
    tcp = opened()
    tcp.watch_tos(0xE0)
    assert tcp.syn_tos == 0
    for at in (0, 1):
        assert tcp.on_segment(Segment(GUEST_ISN + 1 + at, ISN + 1, ACK, 64_240, b"x", tos=0x48), 1.0) == Seen.TOS
        assert tcp.let_through(1.0) == Seen.READABLE


def test_a_segment_that_was_reset_is_neither_let_through_nor_reset_again() -> None:
    tcp = opened(after_reset="linger")
    tcp.watch_tos(0xE0)
    tcp.on_segment(Segment(GUEST_ISN + 1, ISN + 1, ACK, 64_240, b"x", tos=0x48), 1.0)
    tcp.reset(1.0)
    assert len(tcp.take_output()) == 1
    assert (tcp.withheld, tcp.let_through(1.0), tcp.take_output()) == (None, 0, [])


def test_a_reset_leaves_no_acknowledgement_behind() -> None:
    tcp = opened()
    tcp.on_segment(Segment(GUEST_ISN + 1, ISN + 1, ACK, 64_240, b"one"), 1.0)
    tcp.on_segment(Segment(GUEST_ISN + 4, ISN + 1, ACK, 64_240, b"two"), 1.0)
    tcp.on_segment(Segment(GUEST_ISN + 7, 0, RST), 1.0)
    assert tcp.take_output() == []


def test_a_connection_that_is_given_up_looks_reset_to_its_owner_and_to_the_guest() -> None:
    tcp = Tcp.answering(Stack(), Segment(GUEST_ISN, 0, SYN, 64_240), ISN, 0.0)
    tcp.grant(0.0)
    tcp.take_output()
    assert tcp.give_up(1.0) == Seen.RST | Seen.CLOSED
    assert tcp.take_output() == [Segment(ISN + 1, 0, RST, 64_240)]
    assert read(tcp) == BROKEN
