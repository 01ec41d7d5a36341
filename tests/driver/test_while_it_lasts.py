"""What a flow does, and does not, as time passes and commands come."""

from __future__ import annotations

import anyio
import anyio.lowlevel
import pytest

from relay.actions import Action, SendRst, SetKeepalive
from relay.driver.flow import LINGER_S
from relay.errors import BehaviourError
from relay.events import Side, TosChanged
from relay.legs import Process
from relay.log import EventLog, Record
from relay.net.connect import host_of
from relay.testing import MemoryLeg
from support.bench import DEADLINE_S
from support.memory_driver import End, MemoryDriver, forward, proxy
from support.performing import perform

_MINDS_NO_ENDING = ("close-mapping.enabled=false",)


def connect(nat: MemoryDriver) -> tuple[End, End]:
    app = nat.call(forward())
    return app, nat.answer()


def test_a_connection_says_how_long_its_dial_took() -> None:
    nat = MemoryDriver()
    nat.advance(5.0)
    nat.call(forward())
    nat.advance(1.5)
    nat.answer()
    assert nat.fields("flow-connected")["dial_s"] == 1.5


def test_a_flow_that_is_closed_by_half_lives_as_long_as_its_other_half() -> None:
    nat = MemoryDriver()
    app, server = connect(nat)
    app.finishes()
    nat.advance(3 * LINGER_S)
    assert (server.hears(), server.end) == (b"", "fin")
    server.says(b"the long answer")
    nat.settle()
    assert app.hears() == b"the long answer"


def test_a_side_that_outlives_the_other_has_a_minute_from_then_on_whatever_else_happens() -> None:
    nat = MemoryDriver("transparent", *_MINDS_NO_ENDING)
    app, server = connect(nat)
    server.resets()
    nat.settle()
    for _ in range(5):
        nat.advance(LINGER_S / 6)
        app.says(b"still here")
        nat.driver.link_down()
        nat.settle()
    assert app.hears() == b""
    assert nat.driver.flows
    nat.advance(LINGER_S / 6 + 0.1)
    assert (app.hears(), app.end) == (b"", "rst")
    assert nat.fields("flow-ended")["internal_because"] == "linger"


def test_a_command_that_is_repeated_is_no_second_command() -> None:
    nat = MemoryDriver()
    connect(nat)
    nat.driver.thaw(Side.EXTERNAL)
    for _ in range(2):
        nat.driver.freeze(Side.EXTERNAL)
    for _ in range(2):
        nat.driver.thaw(Side.EXTERNAL)
    assert nat.told("frozen", "thawed") == ["frozen", "thawed"]


def test_each_side_is_thawed_by_itself() -> None:
    nat = MemoryDriver()
    app, server = connect(nat)
    for side in Side:
        nat.driver.freeze(side)
    app.says(b"request")
    nat.driver.thaw(Side.INTERNAL)
    nat.settle()
    assert server.hears() == b""
    nat.driver.thaw(Side.EXTERNAL)
    nat.settle()
    assert server.hears() == b"request"


def test_a_flow_that_ended_while_it_was_frozen_ends_its_peer_when_thawed() -> None:
    nat = MemoryDriver()
    app, server = connect(nat)
    nat.driver.freeze(Side.EXTERNAL)
    app.says(b"the last words")
    nat.settle()
    nat.driver.end_all("shutdown")
    nat.driver.thaw(Side.EXTERNAL)
    nat.advance(10.0)
    server.hears()
    assert server.end == "rst"
    assert not nat.driver._to_be_thawed


def test_a_probe_setting_that_comes_while_a_side_is_frozen_limits_its_silence() -> None:
    nat = MemoryDriver()
    _, server = connect(nat)
    (flow,) = nat.driver.flows.values()
    nat.driver.freeze(Side.EXTERNAL)
    nat.advance(100.0)
    flow.guard(perform, flow, SetKeepalive(Side.EXTERNAL, idle_s=10, interval_s=2, count=3), "a test")
    server.says(b"unheard")
    nat.advance(5.9)
    assert nat.told("timed-out") == []
    nat.advance(0.2)
    assert nat.fields("timed-out")["side"] == "external"


def test_the_probes_of_one_side_are_not_those_of_the_other() -> None:
    nat = MemoryDriver()
    connect(nat)
    (flow,) = nat.driver.flows.values()
    for side, idle_s in ((Side.EXTERNAL, 10), (Side.INTERNAL, 500)):
        flow.guard(perform, flow, SetKeepalive(side, idle_s, interval_s=2, count=3), "a test")
    nat.driver.freeze(Side.EXTERNAL)
    nat.advance(15.9)
    assert nat.told("timed-out") == []
    nat.advance(0.2)
    assert nat.fields("timed-out")["side"] == "external"


@pytest.mark.anyio
async def test_waiting_for_the_last_flow_lasts_as_long_as_it_does_whatever_has_ended_before() -> None:
    nat = MemoryDriver()
    nat.call(forward()).resets()
    nat.settle()
    await nat.driver.wait_until_idle()
    app = nat.call(forward())
    with anyio.move_on_after(0.01) as limited:
        await nat.driver.wait_until_idle()
    assert limited.cancelled_caught
    with anyio.fail_after(DEADLINE_S):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(nat.driver.wait_until_idle)
            await anyio.lowlevel.checkpoint()
            app.resets()
            nat.settle()


def test_a_profile_that_opens_no_connection_says_so_and_keeps_no_flow() -> None:
    nat = MemoryDriver("transparent", "precomplete-handshake.enabled=false")
    app = nat.call(forward())
    assert nat.fields("fault")["error"].startswith("nothing in the profile opens connections; ")
    assert (app.hears(), app.end) == (b"", "rst")
    assert not nat.driver.flows


def test_the_kernels_probes_follow_the_real_clock_and_a_frozen_side_the_nats() -> None:
    nat = MemoryDriver()
    app, _ = connect(nat)
    (flow,) = nat.driver.flows.values()
    nat.loop.scale = 10.0
    flow.guard(perform, flow, SetKeepalive(Side.INTERNAL, idle_s=100, interval_s=25, count=3), "a test")
    for due_s, probes in ((9.9, 0), (0.2, 1), (10.0, 2)):
        nat.advance(due_s)
        assert app.leg.probes_seen == probes
    flow.legs.freeze(Side.INTERNAL)
    assert flow.legs.silence_s(Side.INTERNAL) == 160.0
    assert (app.hears(), app.end) == (b"", "")


def test_a_change_of_the_tos_byte_is_recorded_with_the_syns_the_last_and_the_new_one() -> None:
    nat = MemoryDriver()
    connect(nat)
    (flow,) = nat.driver.flows.values()
    flow.log.write_event(TosChanged(1.0, Side.INTERNAL, syn=0x20, old=0x48, new=0xA0))
    changed = nat.fields("tos-changed")
    assert [changed[name] for name in ("side", "syn", "old", "new")] == ["internal", 0x20, 0x48, 0xA0]
    assert (changed["syn_precedence"], changed["new_precedence"]) == (1, 5)


def test_the_totals_have_the_bytes_of_each_direction_once_a_flow_is_over() -> None:
    nat = MemoryDriver()
    app, server = connect(nat)
    app.says(b"out")
    server.says(b"inward")
    nat.settle()
    assert (nat.driver.totals.bytes_out, nat.driver.totals.bytes_in) == (0, 0)
    nat.driver.end_all("a test")
    totals = nat.driver.totals
    assert (totals.bytes_out, totals.bytes_in, totals.flows, totals.open) == (3, 6, 1, 0)
    assert totals.ended_by == {"a test": 1}


@pytest.mark.parametrize(("after_data", "heard_bytes"), [(True, 50), (False, 10)])
def test_a_reset_waits_for_a_slow_reader_only_where_it_is_to(after_data: bool, heard_bytes: int) -> None:
    nat = MemoryDriver()
    app, server = connect(nat)
    (flow,) = nat.driver.flows.values()
    app.leg.limit_window(10)
    server.says(bytes(50))
    nat.settle()
    flow.guard(perform, flow, SendRst(Side.INTERNAL, after_data=after_data), "a test")
    heard = b""
    for _ in range(20):
        heard += app.hears()
        nat.advance(0.1)
    assert (len(heard), app.end) == (heard_bytes, "rst")


def test_a_client_that_is_gone_is_named_so(monkeypatch: pytest.MonkeyPatch) -> None:
    nat = MemoryDriver()
    nat.call(proxy())
    (flow,) = nat.driver.flows.values()
    monkeypatch.setattr(MemoryLeg, "peer", None)
    assert flow.client == "a client that is gone"
    assert flow.client_end() is None
    assert host_of(flow.client_end()) == ""


def test_without_a_reader_of_the_log_no_field_is_found_out() -> None:
    nat = MemoryDriver()
    nat.driver.log = EventLog()
    app, server = connect(nat)
    (flow,) = nat.driver.flows.values()
    assert flow.client == ""
    app.says(b"carried all the same")
    app.finishes()
    server.finishes()
    nat.settle()
    assert server.hears() == b"carried all the same"
    assert not nat.driver.flows
    assert (nat.driver.totals.flows, nat.driver.totals.open) == (1, 0)


@pytest.mark.parametrize(
    "event", ["flow-opened", "dial-delayed", "flow-connected", "fin-received", "fin-sent", "rst-sent"]
)
def test_a_listener_of_the_log_may_end_a_flow_at_any_of_its_records(event: str) -> None:
    nat = MemoryDriver("transparent", "slow-dial.delay_s=3")

    def listen(record: Record) -> None:
        if record.event == event:
            nat.driver.end_all("a listener")

    nat.driver.log.subscribe(listen)
    ends = [nat.call(forward())]
    nat.advance(3.0)
    if nat.connector.dials:
        ends.append(nat.answer())
        for act in (ends[0].finishes, ends[1].resets):
            if nat.driver.flows:
                act()
                nat.settle()
    nat.advance(1.0)
    for end in ends:
        end.hears()
        assert end.end == "rst" or end.leg.closed
    assert nat.told("fault") == []
    assert (nat.told().count("flow-ended"), nat.told()[-1]) == (1, "flow-ended")
    assert nat.driver.flows == {}


def test_a_process_that_is_found_at_once_is_in_each_record(monkeypatch: pytest.MonkeyPatch) -> None:
    ssh: Process = (4711, "ssh")
    monkeypatch.setattr(MemoryLeg, "glimpse_process", lambda leg: ssh)
    nat = MemoryDriver()
    connect(nat)
    assert [record.process for record in nat.records] == [ssh] * 2


def test_a_behaviours_fault_tells_where_in_the_behaviour_it_is() -> None:
    nat = MemoryDriver()
    connect(nat)
    (flow,) = nat.driver.flows.values()

    def trip() -> None:
        try:
            raise ZeroDivisionError("I tripped")
        except ZeroDivisionError as origin:
            raise BehaviourError("clumsy", "FinReceived", origin) from origin

    flow.guard(trip)
    fault = nat.fields("fault")
    assert fault["traceback"].rstrip().endswith("ZeroDivisionError: I tripped")
    assert "BehaviourError" not in fault["traceback"]


@pytest.mark.parametrize("command", ["freeze", "thaw"])
def test_a_flow_that_fails_at_a_command_ends_alone(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    nat = MemoryDriver()
    connect(nat)
    connect(nat)
    failing, other = (flow.legs[Side.EXTERNAL] for flow in nat.driver.flows.values())
    carry_out = getattr(MemoryLeg, command)

    def trip(leg: MemoryLeg) -> None:
        if leg is failing:
            raise RuntimeError("I tripped")
        carry_out(leg)

    monkeypatch.setattr(MemoryLeg, command, trip)
    nat.driver.freeze(Side.EXTERNAL)
    if command == "thaw":
        nat.driver.thaw(Side.EXTERNAL)
    assert nat.fields("fault")["error"] == "RuntimeError: I tripped"
    assert list(nat.driver.flows) == [2]
    assert other.frozen == (command == "freeze")


def test_a_fault_of_our_own_tells_where_it_is() -> None:
    class Dance(Action):
        pass

    nat = MemoryDriver()
    connect(nat)
    (flow,) = nat.driver.flows.values()
    flow.guard(perform, flow, Dance(), "a test")
    assert "RelayBug" in nat.fields("fault")["traceback"]
