"""`local-ack`: who acknowledges the app's data, and what is said about data that was acknowledged and lost."""

from __future__ import annotations

import pytest

from captures.trace import elapsed_ms, read_trace
from relay.abilities import Ability, Want
from relay.actions import Action, LimitWindow, ReportLoss
from relay.behaviours.local_ack import LocalAck
from relay.events import LegTimedOut, RstReceived, Side
from relay.testing.playbook import connected, play


@pytest.mark.parametrize(("data", "ack"), [(4, 5), (8, 9), (10, 11)])
def test_vmware_acknowledged_what_the_server_could_not_have_seen_yet(data: int, ack: int) -> None:
    guest, host = read_trace("fusion_guest"), read_trace("fusion_host")
    assert (guest[data].sender, guest[ack].sender) == ("guest", "nat")
    assert guest[ack].ack == guest[data].seq + guest[data].len
    assert 0.16 < elapsed_ms(guest, data, ack) < 2.5 < elapsed_ms(host, 1, 2)
    assert LocalAck().acknowledged_by == "nat"


@pytest.mark.parametrize(
    ("acknowledged_by", "needs"), [("nat", {Want(Ability.ACK, by="nat")}), ("server", {Want(Ability.ACK, by="server")})]
)
def test_who_acknowledges_is_what_the_host_must_provide(acknowledged_by: str, needs: set[Want]) -> None:
    assert set(LocalAck(acknowledged_by=acknowledged_by).wants()) == needs


@pytest.mark.parametrize(
    ("buffer_bytes", "actions"), [(0, []), (64_240, [LimitWindow(Side.INTERNAL, 64_240)])], ids=["kernel's own", "set"]
)
def test_the_buffer_is_limited_only_if_it_is_set(buffer_bytes: int, actions: list[Action]) -> None:
    connected(LocalAck(buffer_bytes=buffer_bytes), steps=actions)


@pytest.mark.parametrize(
    ("side", "unacked_bytes", "actions"),
    [
        (Side.EXTERNAL, 1400, [ReportLoss(1400)]),
        (Side.EXTERNAL, 0, []),
        (Side.INTERNAL, 1400, []),
    ],
    ids=["lost on the way to the server", "nothing lost", "the app's loss is its own"],
)
def test_what_a_dead_server_never_took_is_reported(side: Side, unacked_bytes: int, actions: list[Action]) -> None:
    play(connected(LocalAck()), (RstReceived(1.0, side, unacked_bytes), actions))
    play(connected(LocalAck()), (LegTimedOut(1.0, side, unacked_bytes), actions))
