"""What flows share and what there is only so much of: `TakeSlot` and `GiveSlot`, on legs and a clock in memory."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from relay.actions import Dial, GiveSlot, Grant, Ignore, Note, TakeSlot
from relay.address import Endpoint
from relay.behaviours import Actions, Behaviour
from relay.events import ConnectRequested, DialSucceeded, FinReceived, Side, SlotDenied, SlotTaken
from relay.profiles import add_behaviours, load_profile
from support.memory_driver import End, MemoryDriver, forward

OTHER = Endpoint("192.0.2.81", 80)


TWO = TakeSlot("gate", 2)


@dataclass
class Turnstile(Behaviour):
    """Lets so many in, and may break."""

    action: TakeSlot = TWO
    given_after_s: float = -1.0
    breaks: bool = False

    def on_connect_requested(self, event: ConnectRequested) -> Actions:
        yield self.action

    def on_slot_taken(self, event: SlotTaken) -> Actions:
        assert event.pool == "gate"
        if self.breaks:
            raise RuntimeError("broken")
        yield Note("let in")

    def on_slot_denied(self, event: SlotDenied) -> Actions:
        yield Ignore(60.0)

    def on_fin_received(self, event: FinReceived) -> Actions:
        if self.given_after_s >= 0:
            yield GiveSlot("gate", self.given_after_s)


def nat_with(turnstile: Turnstile, worker: tuple[int, int] = (1, 1)) -> MemoryDriver:
    nat = MemoryDriver("transparent", worker=worker)
    nat.driver.profile = add_behaviours(nat.driver.profile, [turnstile])
    return nat


def test_one_too_many_is_denied_and_dialled_for_nothing() -> None:
    nat = nat_with(Turnstile())
    for _ in range(3):
        nat.call(forward())
    assert len(nat.connector.dials) == 2
    denied = nat.fields("slot-denied")
    assert denied == {"pool": "gate", "limit": 2, "per": "relay", "because": "turnstile"}
    assert nat.fields("flow-ended")["internal"] == "silence"


@dataclass
class TwoGates(Behaviour):
    """Lets one flow in at a time, for each destination and for all, until it is closed by half."""

    def on_connect_requested(self, event: ConnectRequested) -> Actions:
        yield TakeSlot("gate", 1)
        yield TakeSlot("gate", 1, per="destination")

    def on_slot_denied(self, event: SlotDenied) -> Actions:
        yield Ignore(60.0)

    def on_fin_received(self, event: FinReceived) -> Actions:
        yield GiveSlot("gate")


def test_all_pools_of_a_name_are_given_back_at_once() -> None:
    nat = MemoryDriver()
    nat.driver.profile = add_behaviours(nat.driver.profile, [TwoGates()])
    app = nat.call(forward())
    nat.answer()
    app.finishes()
    nat.settle()
    assert len(nat.driver.flows) == 1
    nat.call(forward())
    assert nat.told("slot-denied") == []
    nat.call(forward())
    assert nat.told("slot-denied") == ["slot-denied"] * 2
    nat.driver.end_all("a test")
    assert not nat.driver.slots._pools


def ends_by_fin(nat: MemoryDriver, app: End) -> None:
    server = nat.answer()
    app.finishes()
    nat.settle()
    server.finishes()


def vanishes(nat: MemoryDriver, app: End) -> None:
    app.resets()


@pytest.mark.parametrize(
    "leave",
    [
        ends_by_fin,
        vanishes,
        lambda nat, app: nat.answer().resets(),
        lambda nat, app: nat.refuse(),
        lambda nat, app: nat.driver.end_all("shutdown"),
    ],
    ids=["FIN", "vanished", "RST", "refused", "shutdown"],
)
def test_a_flow_that_is_over_gives_its_slot_back(leave: Callable[[MemoryDriver, End], object]) -> None:
    nat = nat_with(Turnstile(TakeSlot("gate", 1)))
    leave(nat, nat.call(forward()))
    nat.settle()
    nat.call(forward())
    assert nat.told("slot-denied") == []
    assert nat.driver.flows


def test_a_flow_that_ends_by_a_fault_gives_its_slot_back() -> None:
    nat = nat_with(Turnstile(TakeSlot("gate", 1), breaks=True))
    for _ in range(3):
        nat.call(forward())
    assert nat.told("fault", "slot-denied") == ["fault"] * 3


def test_those_that_wait_have_their_turn_in_order() -> None:
    nat = nat_with(Turnstile(TakeSlot("gate", 1, wait=True)))
    first, *others = (nat.call(forward()) for _ in range(4))
    assert len(nat.connector.dials) == 1
    assert nat.told("slot-awaited") == ["slot-awaited"] * 3
    others[1].resets()  # it does not wait any more
    nat.settle()
    for sent, end in ((b"first", first), (b"second", others[0]), (b"fourth", others[2])):
        end.says(sent)
        server = nat.answer()
        assert server.hears() == sent
        assert nat.connector.dials == []
        server.resets()
        nat.settle()
    assert nat.told("slot-denied") == []


def test_one_that_asks_later_is_not_before_one_that_waits() -> None:
    nat = nat_with(Turnstile(TakeSlot("gate", 1, wait=True)))
    nat.call(forward())
    early = nat.call(forward())
    nat.driver.flows[1].give_up("shutdown")
    nat.connector.dials.clear()
    late = nat.call(forward())  # before the flow that waits has heard of its slot
    early.says(b"early")
    late.says(b"late")
    server = nat.answer()
    assert server.hears() == b"early"
    assert nat.connector.dials == []


def test_one_that_may_be_of_more_waits_behind_those_that_came_before() -> None:
    nat = nat_with(Turnstile(TakeSlot("gate", 1, wait=True)))
    nat.call(forward())
    nat.call(forward())
    nat.driver.profile = add_behaviours(nat.driver.profile, [Turnstile(TakeSlot("gate", 9, wait=True))])
    nat.call(forward())
    assert len(nat.connector.dials) == 1
    nat.driver.flows[1].give_up("shutdown")
    nat.settle()
    assert len(nat.connector.dials) == 3


def test_one_that_ends_before_it_hears_of_its_turn_passes_it_on() -> None:
    nat = nat_with(Turnstile(TakeSlot("gate", 1, wait=True)))
    for _ in range(3):
        nat.call(forward())
    for number in (1, 2):
        nat.driver.flows[number].give_up("shutdown")
    nat.settle()
    assert [record.flow for record in nat.records if record.event == "note"] == [1, 3]


def test_a_slot_that_is_given_back_later_counts_until_then_also_when_the_flow_is_over() -> None:
    nat = nat_with(Turnstile(TakeSlot("gate", 1), given_after_s=65.0))
    ends_by_fin(nat, nat.call(forward()))
    nat.settle()
    assert nat.told("flow-ended") == ["flow-ended"]
    nat.advance(64)
    nat.call(forward())
    assert nat.told("slot-denied") == ["slot-denied"]
    nat.advance(1)
    nat.call(forward())
    assert nat.told("slot-denied") == ["slot-denied"]
    assert len(nat.connector.dials) == 1


def test_a_slot_that_is_never_given_back_is_lost() -> None:
    nat = nat_with(Turnstile(TakeSlot("gate", 1), given_after_s=math.inf))
    ends_by_fin(nat, nat.call(forward()))
    nat.settle()
    assert nat.loop.next_due_s is None
    nat.call(forward())
    assert nat.told("slot-denied") == ["slot-denied"]


def test_a_pool_for_each_destination() -> None:
    nat = nat_with(Turnstile(TakeSlot("gate", 1, "destination")))
    nat.call(forward())
    nat.call(forward(destination=OTHER))
    assert nat.told("slot-denied") == []
    nat.call(forward())
    assert nat.told("slot-denied") == ["slot-denied"]


@pytest.mark.parametrize(("limit", "parts"), [(10, [3, 3, 2, 2]), (4, [1, 1, 1, 1]), (2, [1, 1, 1, 1])])
def test_each_worker_has_its_part_and_at_least_one(limit: int, parts: list[int]) -> None:
    found = []
    for worker in range(1, 5):
        nat = nat_with(Turnstile(TakeSlot("gate", limit)), (worker + 4, 4))
        for _ in range(12):
            nat.call(forward())
        found.append(len(nat.connector.dials))
    assert found == parts


@dataclass
class Porter(Behaviour):
    """Opens connections, and needs two different slots for each."""

    def on_connect_requested(self, event: ConnectRequested) -> Actions:
        yield TakeSlot("hands", 2, wait=True)
        yield TakeSlot("trolleys", 1, wait=True)
        yield Dial()

    def on_dial_succeeded(self, event: DialSucceeded) -> Actions:
        yield GiveSlot("trolleys")
        yield Grant()


def test_a_dial_waits_for_all_slots_that_were_asked_for_with_it() -> None:
    nat = MemoryDriver("transparent", "precomplete-handshake.enabled=false")
    nat.driver.profile = add_behaviours(nat.driver.profile, [Porter()])
    apps = [nat.call(forward()) for _ in range(3)]
    assert len(nat.connector.dials) == 1
    nat.answer()
    assert len(nat.connector.dials) == 1
    nat.answer()
    assert nat.connector.dials == []
    apps[0].resets()
    nat.settle()
    assert len(nat.connector.dials) == 1


def test_nothing_is_kept_of_flows_that_are_over() -> None:
    nat = nat_with(Turnstile(TakeSlot("gate", 1, "destination")))
    app = nat.call(forward())
    nat.call(forward())
    app.resets()
    nat.settle()
    assert (nat.driver.slots._pools, nat.driver.slots._kept) == ({}, {})


def test_a_side_may_be_the_initiator_of_either() -> None:
    nat = nat_with(Turnstile(TakeSlot("gate", 1)))
    nat.call(forward(Side.EXTERNAL))
    nat.call(forward())
    assert nat.told("slot-denied") == ["slot-denied"]


@dataclass
class Forgetful(Behaviour):
    """Asks for its slot again when it has it, or waits for it."""

    def on_connect_requested(self, event: ConnectRequested) -> Actions:
        yield TakeSlot("gate", 1, wait=True)
        yield TakeSlot("gate", 1, wait=True)

    def on_slot_taken(self, event: SlotTaken) -> Actions:
        yield Note("let in")


def test_one_that_asks_again_has_one_slot_and_waits_once() -> None:
    nat = MemoryDriver("transparent")
    nat.driver.profile = add_behaviours(nat.driver.profile, [Forgetful()])
    first, _ = nat.call(forward()), nat.call(forward())
    assert [record.flow for record in nat.records if record.event == "note"] == [1, 1]
    assert nat.told("slot-awaited") == ["slot-awaited"]
    first.resets()
    nat.settle()
    assert [record.flow for record in nat.records if record.event == "note"] == [1, 1, 2]


def test_one_that_waits_no_more_lets_those_behind_it_in() -> None:
    nat = nat_with(Turnstile(TakeSlot("gate", 1, wait=True)))
    nat.call(forward())
    second = nat.call(forward())
    nat.driver.profile = add_behaviours(load_profile("transparent"), [Turnstile(TakeSlot("gate", 2, wait=True))])
    nat.call(forward())
    assert [record.flow for record in nat.records if record.event == "note"] == [1], "the third is behind the second"
    second.resets()
    nat.settle()
    assert [record.flow for record in nat.records if record.event == "note"] == [1, 3]
