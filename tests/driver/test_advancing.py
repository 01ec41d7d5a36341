"""An advance of the NAT's clock, without a socket: what it waits for, what it gives, and what is said to hold it up."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Generator
from typing import cast

import pytest

from relay.actions import WatchIdle
from relay.clock import real_s
from relay.driver.advancing import advance
from relay.errors import Unsettled
from relay.events import Side
from relay.legs import PeerSocket
from relay.log import Record
from relay.loop.engine import Engine
from relay.loop.settling import finish
from relay.profiles import add_behaviours
from relay.testing import MemoryLeg
from support.memory_driver import MemoryDriver, MemoryEngine, forward, proxy
from support.watching import Watching, notes

_MUCH = bytes(200_000)
"""More than a leg in memory takes for a peer that does not read."""
_HINT = "let it come to rest or end it before time is moved on; a side that is frozen is not waited for"


class MovedEngine(MemoryEngine):
    """An engine in memory whose clock can be moved on as the real one's."""

    has_descriptor = True

    def __init__(self) -> None:
        super().__init__()
        self.skipped: list[float] = []
        self.worked: Callable[[], object] = int
        self.waited_s = 0.0

    def work(self, until_s: float, wait_s: float = 0.0, first: Callable[[], None] | None = None) -> bool:
        if first is not None:
            first()
        self.worked()
        self.waited_s += wait_s
        worked = bool(self._soon)
        while self._soon and real_s() < until_s:
            self._soon.popleft()()
        return worked

    def due_within(self, seconds: float) -> Generator[tuple[float, Callable[[], None]], None, None]:
        began_s = self._now_s
        while (due_s := self.next_due_s) is not None and due_s <= began_s + seconds:
            self._now_s = due_s
            yield due_s - began_s, heapq.heappop(self._timers)[2].run
        self._now_s = began_s + seconds

    def skip(self, seconds: float) -> None:
        self.skipped.append(seconds)


class Nat(MemoryDriver):
    """A driver with such an engine, and one flow."""

    loop: MovedEngine

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("support.memory_driver.MemoryEngine", MovedEngine)
        super().__init__()
        self.driver._lookups = 0
        self.app, self.server = self.call(forward()), self.answer()
        (self.flow,) = self.driver.flows.values()

    def move(self, seconds: float, *, credit: bool = True, waits: bool = True, in_step: bool = False) -> list[Record]:
        """Move the clock on."""
        self.records.clear()
        steps = advance(self.driver, seconds, credit=credit, waits=waits, in_step=in_step)
        return finish(cast("Engine", self.loop), steps)

    def refusal(self, seconds: float, **how: bool) -> str:
        """What it says where it cannot move the clock on."""
        with pytest.raises(Unsettled) as raised:
            self.move(seconds, **how)
        self.hint = raised.value.hint
        return str(raised.value)

    def later(self, seconds: float, callback: Callable[[], object]) -> None:
        self.loop.call_later(seconds, callback)


@pytest.fixture
def nat(monkeypatch: pytest.MonkeyPatch) -> Nat:
    for name in ("relay.loop.settling.SETTLE_S", "relay.driver.advancing._WATCHED_S"):
        monkeypatch.setattr(name, 0.02)
    monkeypatch.setattr("relay.driver.advancing._RECORDS_WITHIN_S", 0.02)
    monkeypatch.setattr(MemoryLeg, "glimpse_process", lambda leg: (7, "curl"))
    return Nat(monkeypatch)


def know(monkeypatch: pytest.MonkeyPatch, **peers: PeerSocket | None) -> None:
    monkeypatch.setattr(MemoryLeg, "look_at_peer", lambda leg: peers.get(leg.side.value))


def test_what_is_due_happens_at_its_moment_and_its_records_are_given_in_order(nat: Nat) -> None:
    moments: list[float] = []
    for seconds in (5.0, 3.0, 10.5):
        nat.later(seconds, lambda: moments.append(nat.loop.now_s()))
    nat.later(4, lambda: nat.flow.log.write("note", text="at 4 s", because="a-test"))
    caused = nat.move(10)
    assert [record.event for record in caused] == ["note", "time-advanced"]
    assert dict(caused[-1].fields) == {"by_s": 10}
    assert (moments, nat.loop.now_s()) == ([3.0, 5.0], 10.0)
    nat.driver.link_down()
    assert len(caused) == 2, "what comes later is none of its records"


@pytest.mark.parametrize(("end", "who"), [("app", "the app"), ("server", "the server")])
def test_what_a_peer_does_not_read_holds_the_clock_up_and_nothing_has_changed(nat: Nat, end: str, who: str) -> None:
    sender, receiver = (nat.server, nat.app) if end == "app" else (nat.app, nat.server)
    receiver.leg.limit_window(1000)
    sender.says(_MUCH)
    nat.settle()
    waiting_bytes = sum(leg.waiting_bytes() for leg in nat.flow.legs)
    assert nat.refusal(10) == name_of(nat) + f"{waiting_bytes} B wait for {who} to read"
    assert (nat.hint, nat.loop.now_s(), nat.told(), nat.loop.skipped) == (_HINT, 0.0, [], [])
    assert "to read" in nat.refusal(10, in_step=True)
    assert nat.loop.skipped == [10]


def name_of(nat: Nat) -> str:
    client = nat.flow.client_end()
    assert client is not None
    return f"advance: flow #1 (curl[7] to {nat.flow.destination}) does not settle within 1 s: "


def test_a_side_that_is_frozen_is_not_waited_for(nat: Nat) -> None:
    nat.app.leg.limit_window(1000)
    nat.server.says(_MUCH)
    nat.settle()
    nat.driver.freeze(Side.INTERNAL)
    assert [record.event for record in nat.move(10)] == ["time-advanced"]
    assert nat.loop.now_s() == 10


def test_what_a_peer_has_still_to_send_is_waited_for_before_anything_is_due(
    nat: Nat, monkeypatch: pytest.MonkeyPatch
) -> None:
    unsent = PeerSocket(7, None, None)
    for side, who in (("internal", "the app"), ("external", "the server")):
        know(monkeypatch, **{side: unsent})
        assert nat.refusal(10) == name_of(nat) + f"{who} has still 7 B to send"
    nat.driver.freeze(Side.INTERNAL)
    nat.move(1)
    nat.driver.thaw(Side.INTERNAL)
    know(monkeypatch, external=PeerSocket(0, None, None))
    nat.later(3, lambda: know(monkeypatch, external=unsent))
    nat.move(10)


@pytest.mark.parametrize(("at_s", "by_s"), [(4.0, 4.0), (10.0, 10.0)])
def test_the_clock_stands_where_it_had_come_to_when_a_flow_rests_no_more(nat: Nat, at_s: float, by_s: float) -> None:
    nat.app.leg.limit_window(1000)
    nat.later(at_s, lambda: nat.server.says(_MUCH))
    assert "B wait for the app to read" in nat.refusal(10, in_step=True)
    assert nat.fields("time-advanced") == {"by_s": by_s}
    assert nat.loop.skipped == [10 - by_s]
    assert nat.loop.now_s() == by_s


def test_a_flow_that_goes_on_carrying_is_named_with_how_much(nat: Nat) -> None:
    def go_on() -> None:
        nat.app.says(b"x")
        nat.server.hears()
        nat.loop.call_soon(go_on)

    slow = nat.call(forward())
    server = nat.answer()
    go_on()
    said = nat.refusal(10)
    assert said.startswith(name_of(nat) + "it goes on carrying, ")
    assert said.endswith(" B in the last 20 ms")
    assert int(said.rpartition("carrying, ")[2].split()[0]) > 1
    slow.leg.limit_window(1000)
    server.says(_MUCH)
    assert nat.refusal(10).endswith(" B wait for the app to read"), "one that stands still is named first"


def test_where_no_flow_is_the_reason_connections_are_being_made(nat: Nat) -> None:
    nat.driver._lookups = 1
    assert nat.refusal(10) == "advance: the relay does not settle within 1 s: it has always work"
    assert nat.hint == "wait until the connections that come in just now have been made"
    nat.loop.waited_s = 0.0
    assert [record.event for record in nat.move(10, waits=False)] == ["time-advanced"]
    assert nat.loop.waited_s == 0


def test_records_that_are_held_back_are_waited_for_a_moment(nat: Nat) -> None:
    def begin() -> None:
        nat.driver._lookups += 1
        nat.flow.log.hold()
        nat.flow.log.write("note", text="held", because="a-test")
        nat.loop.worked = look_up

    def look_up() -> None:
        turns.append(1)
        if len(turns) == 3:
            nat.loop.worked = int
            nat.driver._lookups -= 1
            nat.flow.log.name_process((7, "curl"))

    turns: list[int] = []
    nat.later(3, begin)
    assert [record.event for record in nat.move(3.5)] == ["note", "time-advanced"]
    nat.driver._lookups = 0
    nat.later(3, lambda: setattr(nat.driver, "_lookups", 1))
    assert [record.event for record in nat.move(3.5)] == ["time-advanced"], "no longer than a moment"
    nat.later(3, lambda: setattr(nat.driver, "_lookups", 1))


@pytest.mark.parametrize("credit", [True, False])
def test_probes_are_presumed_if_they_are_to_count(nat: Nat, monkeypatch: pytest.MonkeyPatch, credit: bool) -> None:
    know(monkeypatch, internal=PeerSocket(0, 4, 7), external=PeerSocket(0, None, None))
    nat.driver.profile = add_behaviours(nat.driver.profile, [Watching(WatchIdle("quiet", 10.0, "segments"))])
    nat.call(forward())
    nat.answer()
    told = [record.event for record in nat.move(25, credit=credit)]
    assert ("keepalive-presumed" in told) is credit
    assert bool(notes(nat)) is not credit
    nat.advance(10)
    assert notes(nat), "none is presumed once the advance is over"


def test_what_is_not_known_of_a_flow_is_said_so(nat: Nat, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MemoryLeg, "glimpse_process", lambda leg: None)
    nat.driver.end_all("relay-stopped")
    monkeypatch.setattr(type(nat.driver), "name_owner", lambda *_, **__: None)
    client = nat.call(proxy())
    client.leg.limit_window(0)
    client.says(b"\x05\x01\x00")
    nat.settle()
    said = nat.refusal(1)
    (flow,) = nat.driver.flows.values()
    assert said.startswith(f"advance: flow #2 ({flow.client_end()} to no destination) does not settle")
    monkeypatch.setattr(MemoryLeg, "peer", None)
    assert "(a client that is gone to no destination)" in nat.refusal(1)
