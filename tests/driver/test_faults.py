"""Faults that commands set, through a driver without a socket: which flows suffer them, from when, and until when."""

from __future__ import annotations

import pytest

from relay.address import Endpoint
from relay.events import Side
from relay.fault import Fault, FaultEnd
from relay.frontends.forward import ForwardConversation
from relay.shape import Shape
from support.memory_driver import SERVER, End, MemoryDriver, forward

_SLOW = Fault(side=Side.INTERNAL, shape=Shape(delay_s=1.0))
_FORWARD = Endpoint("127.0.0.1", 16379)


def connected(nat: MemoryDriver) -> tuple[End, End]:
    app = nat.call(forward())
    return app, nat.answer()


def arrives_after_s(nat: MemoryDriver, sender: End, receiver: End) -> float:
    """How long a byte takes, to the half second."""
    sender.says(b"x")
    nat.settle()
    waited_s = 0.0
    while not receiver.hears():
        assert waited_s < 10.0
        nat.advance(0.5)
        waited_s += 0.5
    return waited_s


def test_a_fault_holds_for_flows_that_are_open_and_for_those_to_come_until_it_is_lifted() -> None:
    nat = MemoryDriver()
    before = connected(nat)
    nat.driver.faults.set("slow", _SLOW, None)
    after = connected(nat)
    for app, server in (before, after):
        assert (arrives_after_s(nat, server, app), arrives_after_s(nat, app, server)) == (1.0, 0.0)
    assert nat.driver.faults.lift("slow", None)
    assert not nat.driver.faults.lift("slow", None)
    for app, server in (before, after, connected(nat)):
        assert arrives_after_s(nat, server, app) == 0.0


@pytest.mark.parametrize("other", [Fault(side=Side.EXTERNAL, shape=Shape(delay_s=2.0)), Fault(side=Side.INTERNAL)])
def test_a_fault_that_is_set_anew_takes_the_place_of_the_old_one(other: Fault) -> None:
    nat = MemoryDriver()
    app, server = connected(nat)
    nat.driver.faults.set("slow", _SLOW, None)
    nat.driver.faults.set("slow", other, None)
    assert arrives_after_s(nat, server, app) == 0.0
    assert arrives_after_s(nat, app, server) == other.shape.delay_s


def test_a_flow_that_the_new_share_leaves_out_suffers_it_no_more() -> None:
    nat = MemoryDriver()
    app, server = connected(nat)
    nat.driver.faults.set("slow", _SLOW, None)
    nat.driver.faults.set("slow", Fault(side=Side.INTERNAL, shape=_SLOW.shape, share=0.0), None)
    assert arrives_after_s(nat, server, app) == 0.0


@pytest.mark.parametrize("lifted", [_FORWARD, None])
def test_of_one_name_on_all_flows_and_on_a_forward_each_is_lifted_by_itself(lifted: Endpoint | None) -> None:
    nat = MemoryDriver()
    app = nat.call(ForwardConversation(SERVER, Side.INTERNAL, _FORWARD))
    server = nat.answer()
    other_app, other = connected(nat)
    nat.driver.faults.set("slow", _SLOW, None)
    nat.driver.faults.set("slow", Fault(side=Side.EXTERNAL, shape=Shape(delay_s=2.0)), _FORWARD)
    assert (arrives_after_s(nat, server, app), arrives_after_s(nat, app, server)) == (1.0, 2.0)
    by_both = [(side, because) for flow, side, because, _ in shapes(nat) if flow == 1]
    assert by_both == [("internal", "fault slow"), ("external", "forward's fault slow")]
    assert nat.driver.faults.lift("slow", lifted)
    left_s = (0.0, 2.0) if lifted is None else (1.0, 0.0)
    assert (arrives_after_s(nat, server, app), arrives_after_s(nat, app, server)) == left_s
    assert arrives_after_s(nat, other, other_app) == left_s[0]


def test_of_one_name_each_ends_its_flows_in_its_own_time() -> None:
    nat = MemoryDriver()
    app = nat.call(ForwardConversation(SERVER, Side.INTERNAL, _FORWARD))
    nat.answer()
    nat.driver.faults.set("end", Fault(side=Side.INTERNAL, end="rst", end_after_s=2.0), None)
    nat.driver.faults.set("end", Fault(side=Side.INTERNAL, end="fin", end_after_s=1.0), _FORWARD)
    nat.driver.faults.lift("end", _FORWARD)
    nat.advance(1.5)
    assert (app.hears(), app.end) == (b"", "")
    nat.advance(1.0)
    assert (app.hears(), app.end) == (b"", "rst")


def test_about_its_share_of_the_flows_suffers_it_the_same_ones_with_the_same_seed() -> None:
    def slow_flows(seed: int) -> list[bool]:
        nat = MemoryDriver(seed=seed)
        flows = [connected(nat) for _ in range(30)]
        nat.driver.faults.set("slow", Fault(side=Side.INTERNAL, shape=_SLOW.shape, share=0.5), None)
        drawn = [record.fields["because"] for record in nat.records if record.event == "chance-drawn"]
        assert drawn == ["fault slow"] * 30, "by the name that shape-changed has for it"
        return [arrives_after_s(nat, server, app) == 1.0 for app, server in flows]

    assert 8 <= sum(slow_flows(1)) <= 22
    assert slow_flows(1) == slow_flows(1) != slow_flows(2)


@pytest.mark.parametrize("end", ["fin", "rst"])
@pytest.mark.parametrize("after_s", [0.0, 2.0])
def test_a_fault_ends_its_flows_in_its_own_time(end: FaultEnd, after_s: float) -> None:
    nat = MemoryDriver()
    app, server = connected(nat)
    nat.driver.faults.set("end", Fault(side=Side.INTERNAL, end=end, end_after_s=after_s), None)
    if after_s:
        nat.advance(after_s - 0.1)
        assert (app.hears(), app.end, server.hears(), server.end) == (b"", "", b"", "")
    nat.advance(0.2)
    assert (app.hears(), app.end, server.hears(), server.end) == (b"", end, b"", end)
    assert nat.fields("flow-ended")["because"] == "command"


def test_a_fault_that_is_lifted_in_time_ends_nothing_unless_that_is_its_end() -> None:
    nat = MemoryDriver()
    app, _ = connected(nat)
    nat.driver.faults.set("end", Fault(side=Side.INTERNAL, end_after_s=2.0), None)
    nat.driver.faults.lift("end", None)
    nat.advance(10.0)
    assert (app.hears(), app.end) == (b"", "")
    nat.driver.faults.set("end", Fault(side=Side.INTERNAL, end_when_lifted=True), None)
    nat.advance(10.0)
    assert (app.hears(), app.end) == (b"", "")
    nat.driver.faults.lift("end", None)
    nat.settle()
    assert (app.hears(), app.end) == (b"", "fin")


def test_a_limit_counts_from_when_the_fault_takes_hold_and_ends_the_flow_if_it_is_to() -> None:
    nat = MemoryDriver()
    app, server = connected(nat)
    nat.driver.faults.set("slow", _SLOW, None)
    assert arrives_after_s(nat, server, app) == 1.0
    limit = Fault(side=Side.INTERNAL, shape=Shape(limit_bytes=3), end_at_limit=True)
    nat.driver.faults.set("limit", limit, None)
    server.says(b"ab")
    nat.advance(2.0)
    assert (app.hears(), app.end) == (b"ab", "")
    server.says(b"cde")
    nat.advance(2.0)
    assert (app.hears(), app.end) == (b"c", "fin")


def test_a_side_that_is_over_suffers_nothing_more() -> None:
    nat = MemoryDriver("transparent", "close-mapping.enabled=false")
    app, server = connected(nat)
    nat.driver.faults.set("slow", _SLOW, None)
    app.resets()
    nat.settle()
    (flow,) = nat.driver.flows.values()
    nat.driver.faults.set("slow", _SLOW, None)
    assert flow.faults is None
    nat.driver.faults.lift("slow", None)
    assert nat.told("fault") == []
    assert (server.hears(), server.end) == (b"", "")


def shapes(nat: MemoryDriver) -> list[tuple[int | None, str, str, list[str]]]:
    """Which flow, which side, by what, and what it does, of each change so far."""
    told = [record for record in nat.records if record.event == "shape-changed"]
    return [(each.flow, each.fields["side"], each.fields["because"], each.fields["effects"]) for each in told]


def test_which_fault_holds_for_which_flow_is_on_record() -> None:
    nat = MemoryDriver("transparent", "latency.delay_s=1", "latency.direction=to-app")
    connected(nat)
    by_behaviour = (1, "internal", "latency", ["delay_s=1.0"])
    assert shapes(nat) == [by_behaviour]
    nat.driver.faults.set("slow", _SLOW, None)
    nat.driver.faults.set("slow", _SLOW, None)
    nat.driver.faults.lift("slow", None)
    by_command = [(1, "internal", "fault slow", ["delay_s=1.0"]), (1, "internal", "fault slow", [])]
    assert shapes(nat) == [by_behaviour, *by_command]


@pytest.mark.parametrize(
    ("fault", "when"),
    [
        (Fault(side=Side.INTERNAL, end="rst", end_after_s=2.0), "RST, after 2 s"),
        (Fault(side=Side.INTERNAL, end="rst", end_after_s=0.0), "RST, after 0 s"),
        (Fault(side=Side.INTERNAL, shape=Shape(limit_bytes=1), end_at_limit=True), "FIN, at its limit"),
        (Fault(side=Side.INTERNAL, end_when_lifted=True), "FIN, as it is lifted"),
    ],
)
def test_a_fault_that_ends_a_flow_is_named(fault: Fault, when: str) -> None:
    nat = MemoryDriver()
    _, server = connected(nat)
    nat.driver.faults.set("last", fault, None)
    server.says(b"xx")
    nat.advance(2.0)
    nat.driver.faults.lift("last", None)
    assert nat.fields("note") == {"text": f"ends the flow by {when}", "because": "fault last"}


def test_a_dial_that_is_late_says_by_what() -> None:
    nat = MemoryDriver("transparent", "slow-dial.delay_s=3")
    nat.call(forward())
    assert nat.connector.dials == []
    assert nat.fields("dial-delayed") == {"by_s": 3.0, "because": "slow-dial"}


def test_of_two_faults_of_one_name_one_of_all_flows_and_one_of_a_forward_the_forwards_flows_suffer_both() -> None:
    nat = MemoryDriver()
    by, other = Endpoint("127.0.0.1", 1), Endpoint("127.0.0.1", 2)
    of_all = Fault(side=Side.INTERNAL, shape=Shape(delay_s=3.0))
    nat.driver.faults.set("slow", _SLOW, by)
    nat.driver.faults.set("slow", of_all, None)
    for forward_address, waited_s in ((by, 4.0), (other, 3.0), (None, 3.0)):
        app = nat.call(ForwardConversation(SERVER, Side.INTERNAL, forward_address))
        assert arrives_after_s(nat, nat.answer(), app) == waited_s
    assert nat.driver.faults.all() == [("slow", _SLOW, by), ("slow", of_all, None)]
    assert nat.driver.end_forward(by) == 1
    assert nat.driver.faults.all() == [("slow", of_all, None)]
    assert [record.fields["forward"] for record in nat.records if record.event == "fault-set"] == [str(by), None]
    assert [flow.forward for flow in nat.driver.flows.values()] == [other, None]


def test_a_fault_of_one_forward_is_lifted_for_its_flows_alone() -> None:
    nat = MemoryDriver()
    by = Endpoint("127.0.0.1", 1)
    flows = []
    for forward_address in (by, None):
        app = nat.call(ForwardConversation(SERVER, Side.INTERNAL, forward_address))
        flows.append((app, nat.answer()))
    nat.driver.faults.set("slow", _SLOW, by)
    assert [arrives_after_s(nat, server, app) for app, server in flows] == [1.0, 0.0]
    assert not nat.driver.faults.lift("slow", None)
    assert [arrives_after_s(nat, server, app) for app, server in flows] == [1.0, 0.0]
    assert nat.driver.faults.lift("slow", by)
    assert [arrives_after_s(nat, server, app) for app, server in flows] == [0.0, 0.0]
    assert nat.fields("fault-lifted")["forward"] == str(by)
