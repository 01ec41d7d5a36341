"""A flow before it carries anything: what its initiator sends, and what becomes of its dial."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest

from relay.actions import Note, SetKeepalive
from relay.address import Endpoint
from relay.behaviours import Actions, Behaviour
from relay.errors import RelayBug
from relay.events import InitiatorSent, Side
from relay.fault import Fault
from relay.frontends.forward import ForwardConversation
from relay.legs import Process
from relay.log import EventLog
from relay.profiles import add_behaviours
from relay.shape import Shape
from relay.testing import MemoryLeg, memory_pair
from support.memory_driver import SERVER, End, MemoryDriver, forward, proxy
from support.performing import perform


def call_with(nat: MemoryDriver, *data: bytes, frozen: bool = False) -> End:
    """A connection that comes in with what its initiator has sent already."""
    peer, leg = memory_pair(nat.loop, Side.INTERNAL)
    for each in data:
        peer.write(each)
    if frozen:
        nat.driver.freeze(Side.INTERNAL)
    nat.driver.accept(leg, forward())
    nat.settle()
    return End(peer)


@pytest.mark.parametrize("sizes", [(1,), (1, 1000), (1000, 64536), (1000, 200_000), (65536, 1)])
def test_what_is_sent_early_arrives_whole_and_up_to_64_kib_are_taken_before(sizes: tuple[int, ...]) -> None:
    nat = MemoryDriver()
    app = nat.call(forward())
    for size in sizes:
        app.says(bytes(size))
        nat.settle()
    (flow,) = nat.driver.flows.values()
    assert len(flow.dialling._early) == min(sum(sizes), 64 * 1024)
    server = nat.answer()
    heard = 0
    for _ in range(9):
        heard += len(server.hears())
        nat.settle()
    assert heard == sum(sizes)


def test_a_frozen_initiator_is_not_read_before_it_is_thawed() -> None:
    nat = MemoryDriver()
    call_with(nat, b"early", frozen=True)
    (flow,) = nat.driver.flows.values()
    assert not flow.dialling.has_early_data
    nat.driver.thaw(Side.INTERNAL)
    nat.settle()
    assert flow.dialling.has_early_data


@dataclass
class Notes(Behaviour):
    """Notes that the initiator has sent something."""

    def on_initiator_sent(self, event: InitiatorSent) -> Actions:
        yield Note("sent")


@pytest.mark.parametrize(
    ("settings", "notes"), [(["order=internal-first", "dial_on=data"], 1), (["order=lockstep"], 0)]
)
def test_the_behaviours_hear_once_that_the_initiator_has_sent_and_only_if_nothing_was_dialled(
    settings: list[str], notes: int
) -> None:
    nat = MemoryDriver("transparent", *(f"precomplete-handshake.{each}" for each in settings))
    nat.driver.profile = add_behaviours(nat.driver.profile, [Notes()])
    app = nat.call(forward())
    for _ in range(3):
        app.says(b"x")
        nat.settle()
    assert len(nat.told("note")) == notes


def test_a_dial_that_is_delayed_is_none_once_its_initiator_has_gone() -> None:
    nat = MemoryDriver("transparent", "slow-dial.delay_s=5")
    app = nat.call(forward())
    assert nat.connector.dials == []
    nat.advance(4.9)
    assert nat.connector.dials == []
    nat.advance(0.2)
    assert len(nat.connector.dials) == 1
    app = nat.call(forward())
    app.resets()
    nat.settle()
    nat.advance(10)
    assert len(nat.connector.dials) == 1
    assert nat.told("fault") == []


def test_a_dial_that_has_failed_is_not_abandoned() -> None:
    nat = MemoryDriver()
    nat.call(forward())
    (dial,) = nat.connector.dials
    nat.refuse()
    assert not dial.abandoned
    assert nat.fields("dial-failed") == {"failure": "refused", "detail": "as the test has it"}


def test_a_moment_is_known_to_the_microsecond() -> None:
    nat = MemoryDriver()
    nat.advance(0.1)
    nat.call(forward())
    nat.advance(0.2)
    nat.answer()
    assert nat.fields("flow-connected")["dial_s"] == 0.2


def test_an_initiator_that_asks_for_nothing_is_a_bug_of_the_relays() -> None:
    nat = MemoryDriver()
    nat.call(proxy())
    (flow,) = nat.driver.flows.values()
    with pytest.raises(RelayBug, match="nothing is asked"):
        flow.ask(flow.initiator_leg, forward())


@pytest.mark.anyio
@pytest.mark.parametrize("found", [(7, "curl"), None])
async def test_a_look_up_of_a_process_ends_whatever_comes_of_it(
    monkeypatch: pytest.MonkeyPatch, found: Process | None
) -> None:
    def find(leg: MemoryLeg) -> Process:
        if found is None:
            raise OSError("the connection is over")
        return found

    monkeypatch.setattr(MemoryLeg, "find_process", find)
    nat = MemoryDriver()
    nat.driver.log = EventLog()
    nat.call(forward())
    (flow,) = nat.driver.flows.values()
    nat.driver._lookups = 1
    flow.log.hold()
    await nat.driver._look_up_owner(flow.log, flow.initiator_leg)
    assert (nat.driver.holds_records, flow.log.process) == (False, found)


def test_flows_are_counted_as_they_begin_and_end() -> None:
    nat = MemoryDriver()
    assert (nat.driver.totals.flows, nat.driver.totals.open) == (0, 0)
    app = nat.call(forward())
    nat.call(forward())
    assert (nat.driver.totals.flows, nat.driver.totals.open) == (2, 2)
    app.resets()
    nat.settle()
    totals = nat.driver.totals
    assert (totals.flows, totals.open, dict(totals.ended_by)) == (2, 1, {"internal-peer": 1})


def test_what_a_fault_never_lets_pass_was_received_and_not_carried() -> None:
    nat = MemoryDriver()
    by = Endpoint("127.0.0.1", 1)
    app = nat.call(ForwardConversation(SERVER, Side.INTERNAL, by))
    server = nat.answer()
    for side, limit_bytes in ((Side.EXTERNAL, 1), (Side.INTERNAL, 0)):
        nat.driver.faults.set(side.value, Fault(side=side, shape=Shape(limit_bytes=limit_bytes)), None)
    app.says(b"out")
    server.says(b"in")
    nat.settle()
    nat.driver.end_all("relay-stopped")
    totals = nat.driver.totals
    assert (totals.bytes_out, totals.forwards_out[by], totals.received_out[by]) == (1, 1, 3)
    assert (totals.bytes_in, totals.forwards_in[by], totals.received_in[by]) == (0, 0, 2)


def test_what_is_left_to_chance_is_the_same_from_the_first_flow_as_from_a_seed_set_later() -> None:
    def drawn(nat: MemoryDriver) -> list[float]:
        for _ in range(3):
            nat.call(forward())
        return [record.fields["value"] for record in nat.records if record.event == "chance-drawn"]

    settings = ("refuse.share=0.5",)
    first = drawn(MemoryDriver("transparent", *settings, seed=7))
    later = MemoryDriver("transparent", *settings, seed=3)
    drawn(later)
    later.driver.reseed(7)
    later.records.clear()
    assert drawn(later) == first
    assert len(first) == 3


def test_a_connection_says_from_where_it_was_opened() -> None:
    nat = MemoryDriver()
    nat.call(forward())
    server = nat.answer()
    told = nat.fields("flow-connected")
    local = server.leg.peer
    assert (told["address"], told["local"]) == (str(SERVER), str(local) if local is not None else None)


def test_each_timer_is_known_by_its_key_until_it_is_stopped() -> None:
    nat = MemoryDriver()
    nat.call(forward())
    nat.answer()
    (flow,) = nat.driver.flows.values()
    fired: list[str] = []
    for key, after_s in (("a", 1.0), ("b", 2.0), ("a", 3.0), ("c", 4.0)):
        flow.start_timer(key, after_s, partial(fired.append, key))
    assert [flow.has_timer(key) for key in "abcd"] == [True, True, True, False]
    flow.stop_timer("c")
    flow.stop_timer("d")
    nat.advance(10)
    assert fired == ["b", "a"]
    for key in "ef":
        flow.start_timer(key, 1.0, partial(fired.append, key))
    nat.driver.end_all("relay-stopped")
    nat.advance(10)
    assert (fired, flow.has_timers) == (["b", "a"], False)


def test_a_thaw_takes_back_the_end_of_a_frozen_side() -> None:
    nat = MemoryDriver()
    nat.call(forward())
    server = nat.answer()
    (flow,) = nat.driver.flows.values()
    flow.guard(perform, flow, SetKeepalive(Side.EXTERNAL, 10, interval_s=2, count=3), "a test")
    nat.driver.freeze(Side.EXTERNAL)
    nat.advance(5)
    nat.driver.thaw(Side.EXTERNAL)
    nat.advance(60)
    assert (nat.told("timed-out"), server.hears(), server.end) == ([], b"", "")
    nat.driver.freeze(Side.EXTERNAL)
    nat.advance(16.1)
    assert nat.fields("timed-out") == {"side": "external", "unacked_bytes": 0}


@pytest.mark.parametrize("unread", [b"", b"before"])
def test_what_an_app_sent_before_it_changed_its_precedence_arrives(unread: bytes) -> None:
    nat = MemoryDriver("vmware-fusion")
    app = nat.call(forward())
    server = nat.answer()
    app.says(b"first")
    nat.settle()
    app.says(unread)
    app.leg.tos = 0x48
    app.says(b"after")
    nat.advance(1)
    assert (server.hears(), app.hears(), app.end) == (b"first" + unread, b"", "rst")


def test_the_draws_of_a_direction_follow_from_the_seed_the_flow_and_the_side(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, int, Side]] = []

    def draws(*of: Any) -> Callable[[], float]:
        asked.append(of)
        return lambda: 0.5

    monkeypatch.setattr("relay.driver.shaping.draws_of_line", draws)
    nat = MemoryDriver("transparent", "latency.delay_s=1", seed=7)
    for _ in range(2):
        nat.call(forward())
        nat.answer()
    assert asked == [(7, 1, Side.EXTERNAL), (7, 1, Side.INTERNAL), (7, 2, Side.EXTERNAL), (7, 2, Side.INTERNAL)]
