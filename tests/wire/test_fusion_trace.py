"""The session of the first article, played to our own TCP: every frame of the NAT's comes out as VMware's did."""

from __future__ import annotations

from dataclasses import replace

import pytest

from captures.replay import Sent, differences, segment_of
from captures.trace import Frame, read_trace
from relay.profiles import load_profile
from relay.stack import Stack
from relay.wire.segment import Segment
from relay.wire.tcp import Seen, State, Tcp

VMNAT = load_profile("vmware-fusion").stack.build()
TRACE = read_trace("fusion_guest")
NAT_ISN, GUEST_ISN = 0xFFFF_FC00, 0xFFFF_F800  # both wrap under way
PRECEDENCE = 0xE0
NUMBERS = {"nat_isn": NAT_ISN, "guest_isn": GUEST_ISN}


class _Replay:
    """The guest's frames arrive when they did, and the server's bytes when the NAT sent them on."""

    def __init__(self, trace: dict[int, Frame], stack: Stack) -> None:
        self.sent: list[Sent] = []
        self.delivered = bytearray()
        self.seen = 0
        self._given = 0
        first, *rest = trace.values()
        self.tcp = Tcp.answering(stack, self._segment(first), NAT_ISN, first.at_s)
        self.tcp.watch_tos(PRECEDENCE)
        for frame in rest:
            self._pass_time(frame.at_s)
            if frame.sender == "guest":
                self._arrive(frame)
            elif frame.flags == "S.":
                self.tcp.grant(frame.at_s)
            elif frame.len and frame.seq > self._given:
                self._given = frame.seq
                self.tcp.send(bytes(frame.len), frame.at_s)
            self._collect(frame.at_s)

    def _arrive(self, frame: Frame) -> None:
        seen = self.tcp.on_segment(self._segment(frame), frame.at_s)
        self.seen |= seen
        if seen & Seen.READABLE:
            buffer = memoryview(bytearray(2000))
            self.delivered += buffer[: self.tcp.read_into(buffer)]
        if seen & Seen.TOS:
            self.tcp.reset(frame.at_s + 70e-6)

    def _pass_time(self, upto_s: float) -> None:
        while (due_s := self.tcp.next_deadline_s) is not None and due_s <= upto_s:
            self.seen |= self.tcp.on_deadline(due_s)
            self._collect(due_s)

    def _collect(self, now_s: float) -> None:
        self.sent += [Sent(now_s, segment) for segment in self.tcp.take_output()]

    def _segment(self, frame: Frame) -> Segment:
        return segment_of(frame, own_isn=GUEST_ISN, other_isn=NAT_ISN, payload=bytes([frame.number]) * frame.len)


def test_all_38_frames_are_there_and_their_lengths_add_up() -> None:
    assert list(TRACE) == list(range(1, 39))
    for frame in TRACE.values():
        options = 20 if frame.window_scale is not None else 4 if frame.mss is not None else 0
        assert frame.frame_len == max(54 + options + frame.len, 60 if frame.sender == "nat" else 0)
    for sender in ("guest", "nat"):
        following = 0
        for frame in (frame for frame in TRACE.values() if frame.sender == sender and frame.number < 36):
            assert frame.seq == following
            following += frame.len + ("S" in frame.flags)


def test_every_frame_of_the_nat_is_as_in_the_trace() -> None:
    replay = _Replay(TRACE, VMNAT)
    assert differences(TRACE.values(), replay.sent, **NUMBERS) == []


def test_the_marked_segment_is_lost_and_what_came_before_is_not() -> None:
    replay = _Replay(TRACE, VMNAT)
    assert len(replay.delivered) == 2641
    assert 35 not in replay.delivered
    assert replay.delivered.endswith(bytes([32]) * 52)


def test_the_guests_reset_ends_the_connection() -> None:
    replay = _Replay(TRACE, VMNAT)
    assert replay.seen & (Seen.RST | Seen.CLOSED) == Seen.RST | Seen.CLOSED
    assert replay.tcp.state is State.CLOSED


@pytest.mark.parametrize(
    ("number", "change", "difference"),
    [
        (2, {"mss": 1414}, "frame 2: mss is 1460, was 1414"),
        (2, {"window_scale": 7}, "frame 2: window_scale is None, was 7"),
        (5, {"window": 64_219}, "frame 5: window is 64240, was 64219"),
        (9, {"ack": 1413}, "frame 9: ack is 1414, was 1413"),
        (36, {"flags": "R."}, "frame 36: flags is R, was R."),
        (37, {"seq": 2138}, "frame 37: seq is 2094, was 2138"),
        (37, {"at_s": 2.4}, "frame 37: at_s is 2.334051, was 2.400000"),
    ],
)
def test_a_difference_names_frame_and_field(number: int, change: dict[str, object], difference: str) -> None:
    changed = {**TRACE, number: replace(TRACE[number], **change)}  # type: ignore[arg-type]
    replay = _Replay(TRACE, VMNAT)
    assert differences(changed.values(), replay.sent, **NUMBERS) == [difference]


def test_frames_that_are_missing_or_too_many_are_named() -> None:
    sent = _Replay(TRACE, VMNAT).sent
    assert differences(TRACE.values(), sent[:-1], **NUMBERS) == ["frame 37: not sent"]
    assert differences(TRACE.values(), [*sent, sent[-1]], **NUMBERS) == ["after frame 37: . is one more"]


@pytest.mark.parametrize(
    ("setting", "first"),
    [
        ({"ack": "second"}, "frame 5: "),
        ({"first_retransmit_s": 1.0}, "frame 37: "),
        ({"window": 65_535}, "frame 2: window is 65535, was 64240"),
        ({"syn_ack_options": "none"}, "frame 2: mss is None, was 1460"),
        ({"mss": 1414}, "frame 2: mss is 1414, was 1460"),
        ({"after_reset": "close"}, ""),
        ({"after_reset": "linger"}, ""),
    ],
)
def test_the_settings_that_the_trace_decides(setting: dict[str, object], first: str) -> None:
    stack = replace(VMNAT, **setting)  # type: ignore[arg-type]
    found = differences(TRACE.values(), _Replay(TRACE, stack).sent, **NUMBERS)
    assert found[0].startswith(first) if first else found == []
