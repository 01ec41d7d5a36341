"""How a flow ends, and what each end sees of it: without a socket, and in no time."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import pytest

from relay.actions import Action, Note, SendRst
from relay.behaviours import Actions, Behaviour
from relay.driver.flow import LINGER_S
from relay.events import DialSucceeded, FinReceived, ProbeArrived, Side
from support.memory_driver import End, MemoryDriver, forward, proxy
from support.performing import perform

_MARK = 0x48  # AF21, as OpenSSH marks interactive traffic: precedence 2


def connect(nat: MemoryDriver, initiator: Side = Side.INTERNAL) -> tuple[End, End]:
    """The app's end and the server's."""
    caller = nat.call(forward(initiator))
    called = nat.answer()
    return (caller, called) if initiator is Side.INTERNAL else (called, caller)


@pytest.mark.parametrize("first", ["app", "server"])
def test_a_half_close_passes_and_the_other_half_goes_on(first: str) -> None:
    nat = MemoryDriver()
    ends = dict(zip(("app", "server"), connect(nat), strict=True))
    one, other = ends.pop(first), *ends.values()
    one.says(b"last words")
    one.finishes()
    nat.settle()
    assert (other.hears(), other.end) == (b"last words", "fin")
    other.says(b"and mine")
    other.finishes()
    nat.settle()
    assert (one.hears(), one.end) == (b"and mine", "fin")
    ending = nat.fields("flow-ended")
    assert (ending["internal"], ending["external"]) == ("fin", "fin")
    assert ending["because"] == ("internal-peer" if first == "app" else "external-peer")
    assert not nat.driver.flows


@pytest.mark.parametrize(("profile", "end"), [("transparent", "rst"), ("vmware-fusion", "fin")])
def test_an_apps_reset_arrives_as_the_profile_says_and_behind_the_bytes(profile: str, end: str) -> None:
    """May 2019, frame 38: the guest's RST became a FIN to the server."""
    nat = MemoryDriver(profile)
    app, server = connect(nat)
    app.says(b"before it")
    nat.settle()
    app.resets()
    nat.advance(1.0)
    assert (server.hears(), server.end) == (b"before it", end)


def test_a_change_of_precedence_resets_the_app_and_closes_the_server_105_ms_later() -> None:
    """May 2019, frames 35 and 36, host frames 32 and 33."""
    nat = MemoryDriver("vmware-fusion")
    app, server = connect(nat)
    app.says(b"before ")
    nat.settle()
    app.leg.tos = _MARK
    app.says(b"the offence")
    nat.settle()
    assert (app.hears(), app.end) == (b"", "rst")
    assert (server.hears(), server.end) == (b"before ", ""), "the offending segment's data are lost"
    nat.advance(0.104)
    assert server.hears() + server.end.encode() == b""
    nat.advance(0.002)
    assert (server.hears(), server.end) == (b"", "fin")
    server.finishes()
    nat.settle()
    ending = nat.fields("flow-ended")
    assert (ending["because"], ending["internal"], ending["external"]) == ("tos-reset", "rst", "fin")


def test_a_change_that_no_behaviour_minds_is_let_through() -> None:
    nat = MemoryDriver("vmware-fusion", "tos-reset.mask=0x20")
    app, server = connect(nat)
    app.leg.tos = _MARK
    app.says(b"marked")
    nat.settle()
    assert server.hears() == b"marked"


def test_an_inbound_flow_watches_the_side_that_was_dialled() -> None:
    nat = MemoryDriver("vmware-fusion")
    app, server = connect(nat, Side.EXTERNAL)
    app.leg.tos = _MARK
    app.says(b"the offence")
    nat.settle()
    assert (app.hears(), app.end) == (b"", "rst")
    nat.advance(0.2)
    assert (server.hears(), server.end) == (b"", "fin")


def test_a_server_that_is_dead_is_found_so_by_probes_of_the_nats_own_and_the_app_hears_silence() -> None:
    nat = MemoryDriver("transparent")
    app, server = connect(nat)
    app.leg.other.answers_probes = True
    server.leg.blackhole(True)
    app.leg.set_keepalive(10, 10, 9)
    nat.advance(10.5)
    assert nat.told("keepalive-probe") == ["keepalive-probe"]
    nat.advance(4.0)
    assert nat.fields("timed-out")["side"] == "external"
    assert nat.fields("blackholed")["side"] == "internal"
    assert app.leg.unacked_bytes() == 0
    app.says(b"anybody?")
    nat.advance(60.0)
    assert app.leg.unacked_bytes() == len(b"anybody?")


def test_probes_behind_vmware_reach_no_server() -> None:
    nat = MemoryDriver("vmware-fusion")
    app, server = connect(nat)
    server.leg.blackhole(True)
    app.leg.set_keepalive(10, 10, 9)
    nat.advance(100.0)
    assert len(nat.told("keepalive-probe")) >= 9
    assert not app.leg.find_broken()
    assert server.leg.probes_seen == 0


def test_a_flow_is_over_with_its_second_fin_and_with_a_servers_reset() -> None:
    nat = MemoryDriver("transparent")
    app, server = connect(nat)
    app.finishes()
    nat.settle()
    server.finishes()
    nat.settle()
    assert not nat.driver.flows
    app, server = connect(nat)
    server.resets()
    nat.advance(0.5)
    assert (app.hears(), app.end) == (b"", "rst")
    assert not nat.driver.flows


def test_where_no_rule_passes_fins_on_both_sides_have_a_minute_from_the_second() -> None:
    nat = MemoryDriver("transparent", "close-mapping.enabled=false")
    app, server = connect(nat)
    app.finishes()
    nat.advance(2 * LINGER_S)
    server.finishes()
    nat.advance(LINGER_S - 0.1)
    assert (app.hears(), app.end, server.hears(), server.end) == (b"", "", b"", "")
    nat.advance(0.2)
    assert (app.hears(), app.end, server.hears(), server.end) == (b"", "rst", b"", "rst")
    ending = nat.fields("flow-ended")
    assert (ending["because"], ending["external"], ending["external_because"]) == ("internal-peer", "rst", "linger")
    assert not nat.driver.flows


@pytest.mark.parametrize("first", ["app", "server"])
def test_a_leg_whose_peer_has_reset_is_closed_with_its_flow(first: str) -> None:
    nat = MemoryDriver()
    app, server = connect(nat)
    (flow,) = nat.driver.flows.values()
    legs = list(flow.legs)
    (app if first == "app" else server).resets()
    nat.advance(1.0)
    assert not nat.driver.flows
    assert [leg.closed for leg in legs] == [True, True]


def test_the_link_that_goes_down_resets_both_sides_of_every_flow() -> None:
    nat = MemoryDriver("vmware-fusion")
    flows = [connect(nat) for _ in range(3)]
    nat.driver.link_down()
    nat.settle()
    for app, server in flows:
        assert (app.hears(), app.end, server.hears(), server.end) == (b"", "rst", b"", "rst")


def test_what_is_frozen_neither_comes_nor_goes_and_goes_on_when_thawed() -> None:
    nat = MemoryDriver()
    app, server = connect(nat)
    nat.driver.freeze(Side.EXTERNAL)
    app.says(b"kept")
    server.says(b"unheard")
    nat.settle()
    assert (server.hears(), app.hears()) == (b"", b"")
    nat.driver.thaw(Side.EXTERNAL)
    nat.settle()
    assert (server.hears(), app.hears()) == (b"kept", b"unheard")
    late, _ = connect(nat)
    assert late.hears() == b""


def test_a_stop_resets_what_is_open_and_says_why() -> None:
    nat = MemoryDriver()
    app, server = connect(nat)
    assert nat.driver.end_all("shutdown") == 1
    nat.settle()
    assert (app.hears(), app.end, server.hears(), server.end) == (b"", "rst", b"", "rst")
    assert nat.fields("flow-ended")["because"] == "shutdown"


def test_an_idle_flow_is_reset_and_a_busy_one_is_not() -> None:
    ends = (f"idle-timeout.{setting}" for setting in ("after_s=80", "internal=rst", "external=rst"))
    nat = MemoryDriver("transparent", *ends)
    idle, _ = connect(nat)
    busy, server = connect(nat)
    for _ in range(12):
        nat.advance(10.0)
        busy.says(b".")
        nat.settle()
        server.hears()
    assert (idle.hears(), idle.end, busy.hears(), busy.end) == (b"", "rst", b"", "")


class Clumsy(Behaviour):
    def on_fin_received(self, event: FinReceived) -> Actions:
        raise RuntimeError("I tripped")


class Curt(Behaviour):
    def on_dial_succeeded(self, event: DialSucceeded) -> Actions:
        yield Note("first")
        yield SendRst(Side.EXTERNAL)
        yield Note("second")


class Interrupting(Behaviour):
    """Has an event come in the middle of an answer."""

    interrupt: ClassVar[Callable[[], None]]

    def on_fin_received(self, event: FinReceived) -> Actions:
        yield Note("begin")
        Interrupting.interrupt()
        yield Note("end")

    def on_probe_arrived(self, event: ProbeArrived) -> Actions:
        yield Note("in between")


@pytest.fixture
def with_behaviours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have profiles know this module's own."""
    from relay import behaviours  # noqa: PLC0415

    known = {**behaviours.installed_behaviours(), "clumsy": Clumsy, "curt": Curt, "interrupting": Interrupting}
    monkeypatch.setattr("relay.profiles._entries.installed_behaviours", lambda: known)


@pytest.mark.usefixtures("with_behaviours")
def test_a_behaviour_that_raises_ends_its_flow_and_no_other() -> None:
    nat = MemoryDriver("transparent", "clumsy.enabled=true")
    app, server = connect(nat)
    other, its_server = connect(nat)
    app.finishes()
    nat.settle()
    assert (app.hears(), app.end, server.hears(), server.end) == (b"", "rst", b"", "rst")
    assert nat.fields("flow-ended")["because"] == "fault:clumsy"
    other.says(b"unharmed")
    nat.settle()
    assert its_server.hears() == b"unharmed"


@pytest.mark.usefixtures("with_behaviours")
def test_steps_of_one_answer_are_carried_out_in_order() -> None:
    nat = MemoryDriver("transparent", "curt.enabled=true")
    connect(nat)
    assert nat.told("note", "rst-sent")[:3] == ["note", "rst-sent", "note"]


@pytest.mark.usefixtures("with_behaviours")
def test_an_event_that_comes_while_another_is_answered_waits_for_its_turn() -> None:
    nat = MemoryDriver("transparent", "interrupting.enabled=true", "local-keepalive.enabled=false")
    app, _ = connect(nat)
    (flow,) = nat.driver.flows.values()
    Interrupting.interrupt = lambda: flow.take(ProbeArrived(1.0, Side.INTERNAL))
    app.finishes()
    nat.settle()
    assert [record.fields["text"] for record in nat.records if record.event == "note"] == ["begin", "end", "in between"]


def test_an_action_that_nothing_performs_is_a_bug_of_the_relays_and_ends_its_flow_alone() -> None:
    class Dance(Action):
        pass

    nat = MemoryDriver()
    app, server = connect(nat)
    (flow,) = nat.driver.flows.values()
    flow.guard(perform, flow, Dance(), "a test")
    nat.settle()
    assert (app.hears(), app.end, server.hears(), server.end) == (b"", "rst", b"", "rst")
    assert "is carried out nowhere" in nat.fields("fault")["error"]


def test_a_client_that_resets_amid_its_handshake_leaves_no_flow() -> None:
    nat = MemoryDriver()
    client = nat.call(proxy())
    client.says(b"\x05")
    nat.settle()
    client.resets()
    nat.settle()
    assert nat.fields("handshake-failed")["reason"] == "it reset the connection"
    assert not nat.driver.flows


def test_a_flow_that_is_frozen_before_it_begins_waits_to_be_thawed() -> None:
    nat = MemoryDriver()
    nat.driver.freeze(Side.INTERNAL)
    client = nat.call(proxy())
    client.says(b"\x05\x01\x00")
    nat.settle()
    assert client.hears() == b""
    nat.driver.thaw(Side.INTERNAL)
    nat.settle()
    assert client.hears() == b"\x05\x00"
