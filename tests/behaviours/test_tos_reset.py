"""`tos-reset`: which changes of the TOS byte kill a flow, and how the two sides die."""

from __future__ import annotations

import pytest

from captures.trace import elapsed_ms, read_trace
from relay.abilities import Ability, Want, tos_mask
from relay.actions import SendFin, SendRst, StartTimer
from relay.behaviours.tos_reset import TosReset
from relay.events import Side, TimerFired, TosChanged
from relay.testing.playbook import connected, play

GUEST = read_trace("fusion_guest")
HOST = read_trace("fusion_host")

KILL = [SendRst(Side.INTERNAL), StartTimer("external-close", 0.105)]

REPORTS = [
    pytest.param(0x00, 0x48, True, id="af21 after connecting: reset, capture of May 2019"),
    pytest.param(0x00, 0x20, True, id="cs1, what git over ssh sets: reset, open-vm-tools issue 287"),
    pytest.param(0x00, 0x10, False, id="lowdelay after connecting: works, May 2019"),
    pytest.param(0x00, 0x08, False, id="throughput: works, open-vm-tools issue 287"),
    pytest.param(0x48, 0x48, False, id="af21 in the SYN already: works, May 2019"),
]


def changed(syn: int, new: int | None, *, old: int | None = None, side: Side = Side.INTERNAL) -> TosChanged:
    return TosChanged(1.0, side, syn=syn, old=syn if old is None else old, new=new)


@pytest.mark.parametrize(("syn", "new", "killed"), REPORTS)
def test_it_does_what_vmware_was_seen_to_do(syn: int, new: int, killed: bool) -> None:
    play(connected(TosReset()), (changed(syn, new), KILL if killed else []))


@pytest.mark.parametrize(
    ("syn", "new", "killed"),
    [
        pytest.param(0x00, 0xB8, True, id="ef, OpenSSH 10.1's interactive default"),
        pytest.param(0x48, 0x40, False, id="same precedence, other drop preference"),
        pytest.param(0x48, 0x5C, False, id="same precedence, everything else differs"),
        pytest.param(0x48, 0x00, True, id="precedence gone"),
        pytest.param(0x00, 0x1F, False, id="all bits below the precedence"),
        pytest.param(0x00, 0x02, False, id="ECN alone"),
        pytest.param(0x00, 0x80, True, id="top bit alone"),
    ],
)
def test_only_the_precedence_bits_matter(syn: int, new: int, killed: bool) -> None:
    play(connected(TosReset()), (changed(syn, new), KILL if killed else []))


def test_of_all_masks_only_those_around_the_precedence_fit_the_reports() -> None:
    cases = [report.values for report in REPORTS]
    fitting = [
        mask
        for mask in range(1, 0x100)
        if all(
            bool(list(TosReset(mask=mask).on_tos_changed(changed(int(str(syn)), int(str(new)))))) is killed
            for syn, new, killed in cases
        )
    ]
    assert fitting == [*range(0x60, 0x68), *range(0xE0, 0xE8)]
    assert TosReset().mask in fitting


def test_the_syn_is_the_reference_not_the_segment_before() -> None:
    back_to_the_syn = changed(0x00, 0x00, old=0x48)
    still_not_the_syn = changed(0x00, 0x48, old=0x48)
    play(connected(TosReset()), (back_to_the_syn, []), (still_not_the_syn, KILL))


@pytest.mark.parametrize(("mask", "killed"), [(0xE0, False), (0xFC, True), (0xFF, True), (0x03, False)])
def test_the_mask_is_a_setting(mask: int, killed: bool) -> None:
    play(connected(TosReset(mask=mask)), (changed(0x00, 0x10), KILL if killed else []))


def test_a_change_that_the_host_saw_without_its_value_kills() -> None:
    play(connected(TosReset()), (changed(0x00, None), KILL))


@pytest.mark.parametrize("new", [0x48, None])
def test_the_servers_marking_does_not_matter(new: int | None) -> None:
    play(connected(TosReset()), (changed(0x00, new, side=Side.EXTERNAL), []))


def test_the_reset_comes_first_and_undelayed_as_frame_36_did() -> None:
    marked, reset = GUEST[35], GUEST[36]
    assert (marked.tos, marked.sender, reset.flags, reset.sender) == (0x48, "guest", "R", "nat")
    assert elapsed_ms(GUEST, 35, 36) == pytest.approx(0.070, abs=0.001)
    assert elapsed_ms(HOST, 1, 2) > 200  # the server cannot have sent it: it is this far away

    play(connected(TosReset()), (changed(GUEST[32].tos or 0, marked.tos), KILL))


def test_the_default_delay_is_that_between_the_servers_last_data_and_the_nats_fin() -> None:
    assert (HOST[31].sender, HOST[31].len) == ("server", 44)
    assert (HOST[33].sender, HOST[33].flags) == ("nat", "F.")
    assert round(elapsed_ms(HOST, 31, 33)) == TosReset().external_close_delay_ms == 105


def test_the_server_gets_an_orderly_close_when_the_delay_is_over() -> None:
    play(
        connected(TosReset(external_close_delay_ms=250)),
        (changed(0, 0x48), [SendRst(Side.INTERNAL), StartTimer("external-close", 0.25)]),
        (TimerFired(1.25, "external-close"), [SendFin(Side.EXTERNAL)]),
    )


def test_the_offending_segment_has_to_be_withheld_with_its_data_and_its_acknowledgement() -> None:
    """The FIN's sequence number is that of frame 35: none of its 392 bytes had been passed on. And frame 34, which it
    acknowledged, was sent again: the check comes before the ACK is looked at.
    """
    assert (HOST[33].seq, GUEST[35].seq, GUEST[35].len) == (2642, 2642, 392)
    assert (GUEST[35].ack, GUEST[37].seq, GUEST[37].len) == (2138, GUEST[34].seq, 44)
    assert tos_mask(TosReset().wants()) & ((GUEST[35].tos or 0) ^ (GUEST[32].tos or 0))


@pytest.mark.parametrize("mask", [0xE0, 0xFC])
def test_every_segment_that_kills_is_withheld_and_no_other(mask: int) -> None:
    behaviour = TosReset(mask=mask)
    for tos in range(0x100):
        kills = bool(list(behaviour.on_tos_changed(changed(0x48, tos))))
        assert kills is bool((tos ^ 0x48) & tos_mask(behaviour.wants())), hex(tos)


def test_it_needs_to_see_the_tos_byte_and_nothing_else() -> None:
    assert {want.kind for want in TosReset().wants()} == {Want(Ability.TOS)}
