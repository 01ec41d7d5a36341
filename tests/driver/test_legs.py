"""A flow's two legs, apart from the flow: what is done to one, for how long, and what is written of it."""

from __future__ import annotations

from typing import Any, cast

import pytest

from relay.abilities import Ability, Want
from relay.actions import Probe, SetKeepalive
from relay.causes import Cause, How
from relay.driver.flow_log import FlowLog
from relay.driver.legs import FlowLegs
from relay.events import Ending, Event, LegTimedOut, RstReceived, Side
from relay.legs.forgotten import fall_silent
from relay.log import EventLog, Record
from relay.shape import PLAIN, Shape
from relay.testing import MemoryLeg, memory_pair
from support.memory_driver import End, MemoryEngine

_APP, _SERVER = Side.INTERNAL, Side.EXTERNAL


class Legs:
    """The legs of one flow, their peers, and the records."""

    def __init__(self, *sides: Side) -> None:
        self.loop = MemoryEngine()
        self.records: list[Record] = []
        log = EventLog()
        log.subscribe(self.records.append)
        self.of = FlowLegs(cast("Any", self.loop), FlowLog(log, 1, 0.0))
        self.peers: dict[Side, End] = {}
        for side in sides or Side:
            peer, leg = memory_pair(self.loop, side)
            self.peers[side] = End(peer)
            self.of.add(leg)

    def leg(self, side: Side) -> MemoryLeg:
        leg = self.of[side]
        assert isinstance(leg, MemoryLeg)
        return leg

    def end_of(self, side: Side) -> str:
        self.loop.settle()
        self.peers[side].hears()
        return self.peers[side].end

    def heard_by(self, side: Side) -> bytes:
        """All that a peer gets in a few seconds, in which it reads now and then."""
        heard = b""
        for _ in range(9):
            self.loop.advance(1)
            heard += self.peers[side].hears()
        return heard

    def told(self) -> list[tuple[str, dict[str, Any]]]:
        return [(record.event, dict(record.fields)) for record in self.records]


def test_each_leg_is_found_by_its_side_and_given_away_alone() -> None:
    legs = Legs(_APP)
    with pytest.raises(KeyError):
        legs.of[_SERVER]
    assert (legs.of.get(_SERVER), [leg.side for leg in legs.of]) == (None, [_APP])
    legs = Legs()
    assert [leg.side for leg in legs.of] == [_APP, _SERVER]
    for side in Side:
        legs = Legs()
        leg = legs.of[side]
        assert legs.of.give_away(side) is leg
        assert (legs.of.get(side), [each.side for each in legs.of]) == (None, [side.other])


def test_a_frozen_servers_kernel_answers_nothing_and_an_apps_filter_is_left_alone() -> None:
    legs = Legs()
    legs.leg(_APP).blackhole(True)
    for side in Side:
        legs.of.freeze(side)
    assert [(leg.frozen, leg._blackholed) for leg in map(legs.leg, Side)] == [(True, True), (True, True)]
    for side in Side:
        legs.of.thaw(side)
    assert [(leg.frozen, leg._blackholed) for leg in map(legs.leg, Side)] == [(False, True), (False, False)]
    legs = Legs()
    for side in Side:
        legs.of.freeze(side)
    assert [leg._blackholed for leg in map(legs.leg, Side)] == [False, True]


def test_the_silence_of_a_frozen_side_is_as_long_as_its_probes_take_from_then_on() -> None:
    legs = Legs()
    assert legs.of.silence_s(_APP) is None
    legs.of.set_keepalive(SetKeepalive(_APP, 10, interval_s=3, count=4))
    assert legs.of.silence_s(_APP) is None, "it is not frozen"
    legs.of.freeze(_SERVER)
    assert legs.of.silence_s(_SERVER) is None, "it is sent none"
    legs.of.freeze(_APP)
    assert legs.of.silence_s(_APP) == 22
    legs.loop.stand_still(4)
    assert legs.of.silence_s(_APP) == 18
    legs.loop.stand_still(40)
    assert legs.of.silence_s(_APP) == 12
    legs.of.thaw(_APP)
    assert legs.of.silence_s(_APP) is None
    legs.loop.scale = 4.0
    legs.of.freeze(_APP)
    assert legs.of.silence_s(_APP) == (2 + 1 * 4) * 4, "the kernel's times are whole seconds, at least 1"


def test_each_side_has_its_probes_and_a_probe_whose_answer_is_not_seen_counts_as_answered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    legs, asked, answered = Legs(), list[tuple[int, int, int]](), list[int]()
    monkeypatch.setattr(MemoryLeg, "set_keepalive", lambda leg, *times: asked.append(times))
    for side, idle_s in ((_APP, 10), (_SERVER, 20), (_APP, 30)):
        legs.of.set_keepalive(SetKeepalive(side, idle_s, interval_s=3, count=4))
    assert [(each.side, each.idle_s) for each in legs.of.keepalives] == [(_APP, 30), (_SERVER, 20)]
    assert asked == [(10, 3, 4), (20, 3, 4), (30, 3, 4)]
    monkeypatch.setattr(MemoryLeg, "probe", lambda leg, answered: False)
    asked.clear()
    for _ in range(2):
        legs.of.probe(Probe(_APP, count=5), lambda: answered.append(1))
        assert not answered
        legs.loop.settle()
        assert answered.pop()
    assert asked == [(1, 1, 5)], "its kernel is asked once"
    legs.of.freeze(_APP)
    legs.of.probe(Probe(_APP, count=6), lambda: answered.append(1))
    legs.loop.settle()
    assert (asked, answered) == ([(1, 1, 5)], [])


@pytest.mark.parametrize(("then", "can"), [("silence", True), ("reset", True), ("silence", False), ("reset", False)])
def test_what_is_forgotten_is_reset_at_last_if_it_is_there_still(
    monkeypatch: pytest.MonkeyPatch, then: Any, can: bool
) -> None:
    if not can:
        monkeypatch.setattr(MemoryLeg, "forget", lambda leg: False)
    legs = Legs()
    legs.of.forget(legs.of[_APP], then, 60.0, "cut")
    assert legs.told() == [("forgotten", {"side": "internal", "then": then, "because": "cut"})]
    closed = legs.of[_APP].closed
    assert (legs.loop.next_due_s is None) is closed
    legs.loop.advance(59)
    before = legs.end_of(_APP)
    legs.loop.advance(2)
    assert (before, legs.end_of(_APP)) == ("", "" if closed else "rst")


def test_an_initiator_without_a_connection_is_ignored_by_a_record_alone() -> None:
    legs = Legs()
    legs.of[_APP].close()
    legs.of.ignore(legs.of[_APP], 60.0, "cut")
    assert legs.told() == [("forgotten", {"side": "internal", "then": "silence", "because": "cut"})]
    assert legs.loop.next_due_s is None


@pytest.mark.parametrize("can", [True, False])
def test_a_blackholed_side_is_reset_at_last_and_at_once_where_it_cannot_be(
    monkeypatch: pytest.MonkeyPatch, can: bool
) -> None:
    if not can:
        monkeypatch.setattr(MemoryLeg, "blackhole", lambda leg, on: False)
    legs = Legs()
    legs.of.blackhole(legs.of[_APP], 60.0, "cut")
    event = "blackholed" if can else "rst-sent"
    assert legs.told() == [(event, {"side": "internal", "because": "cut"})]
    assert legs.end_of(_APP) == ("" if can else "rst")
    assert legs.loop.next_due_s == (60.0 if can else None)


def test_what_is_closed_with_bytes_left_sends_them_first() -> None:
    for much in (False, True):
        legs = Legs()
        app = legs.peers[_APP]
        if much:
            app.leg.limit_window(10)
            legs.of[_APP].write(b"x" * 30)
        legs.of.close(legs.of[_APP], "cut")
        assert legs.told() == [("fin-sent", {"side": "internal", "because": "cut"})]
        assert legs.of[_APP].closed is not much
        assert (len(legs.heard_by(_APP)), app.end) == (30 * much, "fin")


@pytest.mark.parametrize(("after_data", "heard"), [(True, 30), (False, 10)])
def test_a_reset_waits_for_the_bytes_where_it_is_to(after_data: bool, heard: int) -> None:
    legs = Legs()
    app = legs.peers[_APP]
    app.leg.limit_window(10)
    legs.of[_APP].write(b"x" * 30)
    legs.of.reset(legs.of[_APP], "cut", after_data=after_data)
    assert legs.told() == [("rst-sent", {"side": "internal", "because": "cut"})]
    assert (len(legs.heard_by(_APP)), app.end) == (heard, "rst")


class Witnessing:
    def __init__(self) -> None:
        self.seen: list[Event] = []

    def on_leg_saw(self, event: Event, withheld: bool) -> None:
        self.seen.append(event)


def test_what_a_flow_no_longer_watches_it_does_not_see() -> None:
    for unwatched in (False, True):
        legs, witness = Legs(), Witnessing()
        legs.of[_APP].watch([Want(Ability.TOS, mask=0xE0)], witness)
        app = legs.peers[_APP]
        app.says(b"x")
        if unwatched:
            legs.of.unwatch(_APP)
            legs.of.unwatch(_SERVER)
        app.leg.tos = 0x48
        app.says(b"x")
        legs.loop.settle()
        assert bool(witness.seen) is not unwatched


def test_what_a_side_never_got_is_what_it_did_not_acknowledge_and_what_was_not_read_for_it() -> None:
    legs = Legs()
    app, server = (legs.peers[side] for side in Side)
    app.leg.limit_window(10)
    legs.of[_APP].write(b"x" * 15)
    server.says(b"y" * 3)
    app.says(b"z" * 2)
    assert legs.of.what_broke(legs.of[_APP], 7.0) == RstReceived(7.0, _APP, 8)
    assert legs.of.what_broke(legs.of[_SERVER], 7.0) == RstReceived(7.0, _SERVER, 2)
    legs.of[_SERVER].close()
    legs.leg(_APP).broken = 110
    assert legs.of.what_broke(legs.of[_APP], 7.0) == LegTimedOut(7.0, _APP, 5)
    alone = Legs(_APP)
    assert alone.of.what_broke(alone.of[_APP], 7.0) == RstReceived(7.0, _APP, 0)


@pytest.mark.parametrize(
    ("how", "because", "closed", "end"),
    [
        (None, "", True, "fin"),
        (How.FIN, "cut", True, "fin"),
        (How.FIN, Cause.PEER, True, "fin"),
        (How.RST, Cause.PEER, True, "fin"),
        (How.RST, "cut", False, ""),
        (How.SILENCE, "cut", False, ""),
        (How.FORGOTTEN, "cut", False, ""),
    ],
)
def test_a_flow_that_is_over_ends_what_nothing_else_ends(how: How | None, because: str, closed: bool, end: str) -> None:
    legs = Legs(_APP)
    legs.of.wind_down({_APP: Ending(_APP, how, because)} if how is not None else {})
    assert legs.end_of(_APP) == end
    if end:
        legs.peers[_APP].finishes()
        legs.loop.settle()
    assert legs.of[_APP].closed is closed


def test_the_shapes_of_a_side_come_to_one_and_each_is_taken_back_by_itself() -> None:
    legs = Legs()
    assert not legs.of.has_shape(_APP)
    assert legs.of.combine_shape(_APP, Shape(delay_s=1), "a") == Shape(delay_s=1)
    assert legs.of.combine_shape(_APP, Shape(delay_s=2), "b") == Shape(delay_s=3)
    assert legs.of.combine_shape(_SERVER, Shape(delay_s=5), "b") == Shape(delay_s=5)
    assert legs.of.combine_shape(_APP, PLAIN, "a") == Shape(delay_s=2)
    assert legs.of.combine_shape(_APP, PLAIN, "a") == Shape(delay_s=2)
    assert legs.of.combine_shape(_APP, PLAIN, "b") == PLAIN
    assert legs.of.has_shape(_APP)


def test_a_forgotten_leg_is_neither_frozen_nor_thawed() -> None:
    legs = Legs()
    leg = legs.leg(_SERVER)
    fall_silent(leg)
    legs.of.set_keepalive(SetKeepalive(_SERVER, 10, interval_s=3, count=4))
    legs.of.freeze(_SERVER)
    assert legs.of.silence_s(_SERVER) is None
    legs.of.thaw(_SERVER)
    for side in Side:
        Legs(side.other).of.freeze(side)
        Legs(side.other).of.thaw(side)
        Legs(side.other).of.unwatch(side)
