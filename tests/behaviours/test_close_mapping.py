"""`close-mapping`: what the end of one side becomes on the other."""

from __future__ import annotations

from typing import Any

import pytest

from captures.trace import elapsed_ms, read_trace
from relay.abilities import Ability, Want
from relay.actions import Action, Blackhole, SendFin, SendRst
from relay.behaviours.close_mapping import CloseMapping
from relay.events import FinReceived, LegTimedOut, RstReceived, Side
from relay.testing.playbook import connected, play

INTERNAL, EXTERNAL = Side


@pytest.mark.parametrize(
    ("settings", "side", "actions"),
    [
        ({}, INTERNAL, [SendFin(EXTERNAL)]),
        ({}, EXTERNAL, [SendFin(INTERNAL)]),
        ({"half_close": "close"}, INTERNAL, [SendFin(EXTERNAL), SendFin(INTERNAL)]),
        ({"half_close": "close"}, EXTERNAL, [SendFin(INTERNAL), SendFin(EXTERNAL)]),
    ],
)
def test_a_fin_ends_one_direction_unless_it_is_to_end_both(
    settings: dict[str, Any], side: Side, actions: list[Action]
) -> None:
    play(connected(CloseMapping(**settings)), (FinReceived(1.0, side), actions))


@pytest.mark.parametrize(
    ("settings", "side", "action"),
    [
        ({}, INTERNAL, SendRst(EXTERNAL, after_data=True)),
        ({}, EXTERNAL, SendRst(INTERNAL, after_data=True)),
        ({"internal_rst": "fin"}, INTERNAL, SendFin(EXTERNAL)),
        ({"internal_rst": "fin"}, EXTERNAL, SendRst(INTERNAL, after_data=True)),
        ({"external_rst": "fin"}, INTERNAL, SendRst(EXTERNAL, after_data=True)),
        ({"external_rst": "fin"}, EXTERNAL, SendFin(INTERNAL)),
    ],
)
def test_a_reset_becomes_what_the_setting_of_its_side_says(
    settings: dict[str, Any], side: Side, action: Action
) -> None:
    play(connected(CloseMapping(**settings)), (RstReceived(1.0, side), [action]))


@pytest.mark.parametrize(
    ("settings", "side", "action"),
    [
        ({}, EXTERNAL, SendRst(INTERNAL, after_data=True)),
        ({}, INTERNAL, SendRst(EXTERNAL, after_data=True)),
        ({"timed_out": "silence"}, EXTERNAL, Blackhole(INTERNAL, at_most_s=900)),
        ({"timed_out": "silence", "silence_s": 5}, EXTERNAL, Blackhole(INTERNAL, at_most_s=5)),
    ],
)
def test_a_dead_side_is_a_reset_or_silence_to_the_other(settings: dict[str, Any], side: Side, action: Action) -> None:
    play(connected(CloseMapping(**settings)), (LegTimedOut(1.0, side), [action]))


def test_vmware_turned_the_guests_reset_into_a_fin_at_the_same_sequence_number() -> None:
    guest, host = read_trace("fusion_guest"), read_trace("fusion_host")
    assert (guest[38].sender, guest[38].flags, guest[38].seq) == ("guest", "R", 2642)
    assert (host[33].sender, host[33].flags, host[33].seq) == ("nat", "F.", 2642)
    # The captures' clocks differ by what lies between the same 44 bytes at the host and in the guest.
    skew_ms = (guest[34].at_s - host[31].at_s) * 1000
    assert host[33].at_s * 1000 + skew_ms - guest[38].at_s * 1000 == pytest.approx(2.5, abs=0.1)
    assert elapsed_ms(host, 33, 34) > 200  # nothing from the server is in between

    reset = RstReceived(guest[38].at_s, INTERNAL)
    play(connected(CloseMapping(internal_rst="fin")), (reset, [SendFin(EXTERNAL)]))


@pytest.mark.parametrize(
    ("timed_out", "needs"),
    [("rst", {Want(Ability.CLOSE)}), ("silence", {Want(Ability.CLOSE), Want(Ability.BLACKHOLE)})],
)
def test_silence_needs_a_host_that_can_be_deaf(timed_out: str, needs: set[Want]) -> None:
    assert set(CloseMapping(timed_out=timed_out).wants()) == needs
