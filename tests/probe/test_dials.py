"""Probes that count: connects and lookups that take longer than most, and the ports that connections come from."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.probe.probes.dial_tail import Losses, lost_lookups, lost_syns
from relay.probe.probes.ports import Use, in_words, rests
from support.probing import found_through


def delays_of(share: float, by_s: float, count: int, seed: int) -> tuple[list[float], int]:
    """Connects whose SYNs get lost by chance, and how many were."""
    chance, delays, lost_in_all = random.Random(seed), [], 0  # noqa: S311
    for _ in range(count):
        lost = 0
        while lost < 6 and chance.random() < share:
            lost += 1
        lost_in_all += lost
        delays.append(0.01 + chance.random() / 50 + by_s * (2**lost - 1))
    return delays, lost_in_all


@given(st.floats(0.02, 0.3), st.sampled_from([1.0, 3.0]), st.integers(0, 1 << 32))
def test_lost_syns_are_counted_by_how_long_their_connects_took(share: float, by_s: float, seed: int) -> None:
    delays, lost = delays_of(share, by_s, 300, seed)
    losses = lost_syns(delays, 0.25)
    if losses is None:
        assert lost == 0
        return
    assert losses.lost == pytest.approx(lost, abs=1)
    assert losses.by_s == pytest.approx(by_s, rel=0.05)
    low, high = losses.interval
    assert low <= losses.share <= high


def test_what_takes_no_loss_is_known_though_most_have_one() -> None:
    losses = lost_syns([0.01] * 40 + [1.01] * 60, 0.25)
    assert losses is not None
    assert (losses.lost, losses.of, losses.by_s) == (60, 160, 1.0)


def test_lookups_and_syns_that_are_timed_together_are_told_apart() -> None:
    syns = Losses(lost=3, of=300, by_s=1.0, late=3)
    delays = [0.01] * 95 + [1.01, 3.01, 5.02, 5.01, 6.01]
    losses = lost_lookups(delays, 0.25, syns)
    assert losses is not None
    assert (losses.lost, losses.of, losses.by_s) == (3, 100, 5.01)
    assert lost_lookups([0.01] * 50, 0.25, None) is lost_syns([0.01] * 50, 0.25) is None


def test_ports_are_described_and_those_that_are_used_again_timed() -> None:
    uses = [Use(own, seen, own, own + 0.5, how) for own, seen, how in
            ((1, 5, "fin"), (2, 6, "rst"), (10, 6, "fin"), (20, 5, "rst"), (70, 6, "rst"))]  # fmt: skip
    assert rests(uses) == {"fin": [18.5, 59.5], "rst": [7.5]}
    assert in_words(uses) == "5 connections came from 2 ports, 5 to 6, in no order"
    assert in_words([Use(n, n + 1, n, n, "fin") for n in range(5)]).endswith("5 ports, 1 to 5, counted up")
    assert in_words([Use(n, n, n, n, "fin") for n in (7, 3, 9)]).endswith("as the app's own")


@pytest.mark.anyio
async def test_what_gets_lost_comes_back() -> None:
    lossy: dict[str, Any] = {"syn_share": 0.2, "by_s": 1, "name_share": 0.2, "name_by_s": 5}
    plan = {"dials": 60, "lookups": 60}
    found = await found_through(
        "kubernetes",
        "proxy",
        ["dial-tail"],
        name="localhost",
        plan=plan,
        quiet_turns=300,
        slow_dial=lossy,
        stray_reset={"enabled": False},
    )
    assert found.value("slow-dial", "by_s") == pytest.approx(1, rel=0.05)
    assert found.value("slow-dial", "name_by_s") == pytest.approx(5, rel=0.05)
    for setting in ("syn_share", "name_share"):
        assert found.value("slow-dial", setting) == pytest.approx(0.2, abs=0.15)
    found = await found_through("transparent", "forward", ["dial-tail"], plan=plan, quiet_turns=300)
    assert "slow-dial: none of 60 connects took much longer: less than 5.0% are" in found.notes
    assert "slow-dial: lookups are not measured: SERVER is no name" in found.notes


@pytest.mark.anyio
@pytest.mark.parametrize(("mode", "order"), [("direct", "as the app's own"), ("proxy", "")])
async def test_the_ports_that_the_server_sees_are_noted(mode: str, order: str) -> None:
    found = await found_through("transparent", mode, ["ports"], plan={"port_dials": 12})
    (note,) = (note for note in found.notes if note.startswith("source ports: 12 connections came from "))
    assert note.endswith(order)
