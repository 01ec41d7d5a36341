"""Flows that lack something: a leg, a listener of the log, an ability of the host, or the flow itself."""

from __future__ import annotations

from typing import NoReturn

import pytest

from relay.actions import Blackhole, Ignore, LimitWindow, ReportLoss, SendRst, SetKeepalive
from relay.behaviours import Actions, Behaviour
from relay.driver.flow import Flow
from relay.driver.phase import OVER
from relay.events import DialSucceeded, Side, SynUnknown, TosChanged
from relay.frontends import ConversedConnection
from relay.log import EventLog
from relay.profiles import add_behaviours, load_profile
from relay.testing import MemoryLeg, memory_pair
from support.memory_driver import End, MemoryDriver, forward, proxy
from support.performing import perform

MARK = 0x48


def connect(nat: MemoryDriver) -> tuple[End, End, Flow]:
    app = nat.call(forward())
    server = nat.answer()
    (flow,) = nat.driver.flows.values()
    return app, server, flow


def test_a_side_that_is_frozen_while_it_is_dialled_is_frozen_once_it_is_there() -> None:
    nat = MemoryDriver()
    app = nat.call(forward())
    nat.driver.freeze(Side.EXTERNAL)
    assert nat.told("fault") == []
    server = nat.answer()
    app.says(b"kept")
    nat.settle()
    assert server.hears() == b""
    nat.driver.thaw(Side.EXTERNAL)
    nat.settle()
    assert server.hears() == b"kept"


def test_a_side_that_is_thawed_while_it_is_dialled_is_not_frozen() -> None:
    nat = MemoryDriver()
    app = nat.call(forward())
    nat.driver.freeze(Side.EXTERNAL)
    nat.driver.thaw(Side.EXTERNAL)
    server = nat.answer()
    app.says(b"at once")
    nat.settle()
    assert (server.hears(), nat.told("fault")) == (b"at once", [])


def test_a_thaw_of_what_is_not_frozen_changes_nothing() -> None:
    nat = MemoryDriver()
    app, server, flow = connect(nat)
    flow.thaw(Side.INTERNAL)
    app.says(b"hello")
    nat.settle()
    assert (server.hears(), nat.told("fault")) == (b"hello", [])


def test_a_frozen_side_that_was_reset_meanwhile_does_not_time_out() -> None:
    nat = MemoryDriver("transparent", "close-mapping.enabled=false")
    _, _, flow = connect(nat)
    flow.guard(perform, flow, SetKeepalive(Side.EXTERNAL, idle_s=1, interval_s=1, count=2), "a test")
    nat.driver.freeze(Side.EXTERNAL)
    flow.guard(perform, flow, SendRst(Side.EXTERNAL), "a test")
    nat.advance(10.0)
    assert nat.told("timed-out", "fault") == []


class Unmakeable(Flow):
    def __init__(self, *_: object) -> NoReturn:
        raise MemoryError("as the test has it")


def test_a_flow_that_cannot_be_made_is_a_fault_and_closes_its_leg(monkeypatch: pytest.MonkeyPatch) -> None:
    nat, faults = MemoryDriver(), list[Exception]()
    monkeypatch.setattr("relay.driver.driver.Flow", Unmakeable)
    monkeypatch.setattr(nat.loop, "on_fault", faults.append)
    app = nat.call(forward())
    assert (app.hears(), app.end) == (b"", "fin")
    peer, leg = memory_pair(nat.loop, Side.INTERNAL)
    nat.driver.take(ConversedConnection(leg, forward()))
    nat.settle()
    asked = End(peer)
    assert (asked.hears(), asked.end) == (b"", "fin")
    assert [str(fault) for fault in faults] == ["as the test has it"] * 2
    assert (nat.driver.flows, nat.told()) == ({}, [])


def test_a_fault_without_a_listener_of_the_log_ends_the_flow_all_the_same() -> None:
    nat = MemoryDriver()
    nat.driver.log = EventLog()
    app, server, flow = connect(nat)

    def trip() -> None:
        raise ZeroDivisionError

    flow.guard(trip)
    nat.settle()
    assert (app.hears(), app.end, server.hears(), server.end) == (b"", "rst", b"", "rst")
    assert nat.driver.flows == {}


def test_a_reset_of_a_side_without_a_leg_is_no_fault() -> None:
    nat = MemoryDriver()
    nat.call(forward())
    (flow,) = nat.driver.flows.values()
    flow.guard(perform, flow, SendRst(Side.EXTERNAL), "a test")
    assert nat.told() == ["flow-opened"]


def test_where_a_peer_cannot_be_left_unanswered_it_is_reset_behind_its_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MemoryLeg, "blackhole", lambda leg, on: False)
    nat = MemoryDriver()
    app, server, flow = connect(nat)
    server.says(b"before it")
    nat.settle()
    flow.guard(perform, flow, Blackhole(Side.INTERNAL, 60.0), "a test")
    nat.advance(1.0)
    assert (app.hears(), app.end) == (b"before it", "rst")
    assert nat.told("blackholed", "rst-sent") == ["rst-sent"]


def test_an_initiator_that_has_no_connection_is_ignored_by_silence_alone() -> None:
    """As a SYN on a link, whose leg is closed until it is answered."""
    nat = MemoryDriver()
    nat.call(forward())
    (flow,) = nat.driver.flows.values()
    flow.initiator_leg.close()
    flow.guard(perform, flow, Ignore(60.0), "a test")
    assert nat.fields("forgotten") == {"side": "internal", "then": "silence", "because": "a test"}


def test_a_limited_window_holds_back_what_the_peer_sends() -> None:
    nat = MemoryDriver()
    app, _, flow = connect(nat)
    nat.driver.freeze(Side.INTERNAL)
    flow.guard(perform, flow, LimitWindow(Side.INTERNAL, 1000), "a test")
    app.says(bytes(5000))
    assert app.leg.unacked_bytes() == 4000


def test_a_reported_loss_is_a_record_and_is_summed_at_the_end() -> None:
    nat = MemoryDriver()
    _, _, flow = connect(nat)
    for _ in range(2):
        flow.guard(perform, flow, ReportLoss(70), "a test")
    nat.driver.end_all("shutdown")
    assert nat.told("bytes-lost") == ["bytes-lost"] * 2
    assert nat.fields("flow-ended")["bytes_lost"] == 140


def test_a_syn_that_is_not_known_is_a_record() -> None:
    nat = MemoryDriver()
    _, _, flow = connect(nat)
    flow.take(SynUnknown(0.0, Side.INTERNAL, MARK))
    assert nat.fields("syn-unknown") == {"side": "internal", "reference": MARK}


class ResetsBoth(Behaviour):
    def on_dial_succeeded(self, event: DialSucceeded) -> Actions:
        yield SendRst(Side.INTERNAL)
        yield SendRst(Side.EXTERNAL)


def test_a_connection_that_a_behaviour_ends_at_once_carries_nothing() -> None:
    nat = MemoryDriver()
    nat.driver.profile = add_behaviours(load_profile("transparent"), [ResetsBoth()])
    app = nat.call(forward())
    app.says(b"early")
    (flow,), (dial,) = nat.driver.flows.values(), nat.connector.dials
    server = nat.answer()
    assert (server.hears(), server.end, app.hears(), app.end) == (b"", "rst", b"", "rst")
    assert (nat.driver.flows, flow.phase, flow.log.carrying) == ({}, OVER, None)
    assert not dial.abandoned


def test_an_initiator_that_is_over_is_not_read_again_while_its_dial_goes_on() -> None:
    """Behind VMware's NAT the server gets its connection all the same."""
    nat = MemoryDriver("vmware-fusion")
    app = nat.call(forward())
    (flow,) = nat.driver.flows.values()
    app.resets()
    nat.settle()
    assert flow.machine.is_over(Side.INTERNAL)
    flow.on_leg_ready(flow.initiator_leg)
    assert nat.told("initiator-vanished", "fault") == ["initiator-vanished"]
    assert not nat.connector.dials[0].abandoned


def test_a_turn_that_was_put_off_is_left_out_once_the_flow_is_over() -> None:
    nat = MemoryDriver()
    _, _, flow = connect(nat)
    flow.phase._schedule()  # type: ignore[attr-defined]
    nat.driver.end_all("shutdown")
    nat.settle()
    assert nat.told("fault") == []


def test_a_flow_that_is_over_hears_of_no_limit_and_of_no_answer_to_a_probe() -> None:
    nat = MemoryDriver()
    _, _, flow = connect(nat)
    nat.driver.end_all("shutdown")
    before = nat.told()
    flow.on_limit(Side.EXTERNAL, 1000)
    flow.on_probe_answered(Side.EXTERNAL)
    assert nat.told() == before


def test_a_change_behind_an_apps_fin_finds_nothing_more_to_hand_on() -> None:
    nat = MemoryDriver()
    app, server, flow = connect(nat)
    app.says(b"all")
    app.finishes()
    nat.settle()
    flow.on_leg_saw(TosChanged(1.0, Side.INTERNAL, 0, 0, MARK), withheld=True)
    nat.settle()
    assert (server.hears(), server.end, nat.told("fault")) == (b"all", "fin", [])


def test_an_origin_that_talks_on_when_its_client_is_gone_is_read_and_dropped() -> None:
    nat = MemoryDriver("transparent", "close-mapping.enabled=false")
    client = nat.call(proxy())
    client.says(b"GET http://one.test/ HTTP/1.1\r\nHost: one.test\r\n\r\n")
    nat.settle()
    origin = nat.answer()
    client.resets()
    nat.settle()
    origin.says(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
    nat.settle()
    assert (origin.leg.unacked_bytes(), nat.told("fault")) == (0, [])


def test_an_origin_that_leaves_an_answer_unfinished_is_no_fault_when_its_client_is_gone() -> None:
    nat = MemoryDriver("transparent", "close-mapping.enabled=false")
    client = nat.call(proxy())
    client.says(b"GET http://one.test/ HTTP/1.1\r\nHost: one.test\r\n\r\n")
    nat.settle()
    origin = nat.answer()
    client.resets()
    nat.settle()
    origin.says(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nh")
    origin.finishes()
    nat.settle()
    assert nat.told("fault", "fin-received") == ["fin-received"]
    assert nat.fields("fin-received") == {"side": "external"}


def test_an_app_that_is_to_be_reset_behind_its_bytes_is_not_watched_meanwhile() -> None:
    nat = MemoryDriver("vmware-fusion")
    app, server, flow = connect(nat)
    app.leg.limit_window(1000)
    server.says(bytes(5000))
    nat.settle()
    flow.guard(perform, flow, SendRst(Side.INTERNAL, after_data=True), "a test")
    app.leg.tos = MARK
    app.says(b"marked")
    nat.settle()
    assert nat.told("tos-changed", "fault") == []
