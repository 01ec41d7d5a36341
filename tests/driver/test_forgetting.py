"""`Forget` and `Close` on legs in memory, and on legs that cannot drop a connection silently."""

from __future__ import annotations

import pytest

from relay.events import Side
from relay.testing import MemoryLeg
from support.memory_driver import End, MemoryDriver, forward


def open_flow(internal: str, external: str = "silence") -> tuple[MemoryDriver, End, End]:
    settings = ("after_s=10", f"internal={internal}", f"external={external}", "silence_s=30")
    nat = MemoryDriver("transparent", *(f"idle-timeout.{setting}" for setting in settings))
    app = nat.call(forward())
    return nat, app, nat.answer()


@pytest.fixture(params=[True, False], ids=["able", "unable"])
def able(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether the legs can do what is asked of them."""
    if not request.param:
        monkeypatch.setattr(MemoryLeg, "forget", lambda leg: False)
        monkeypatch.setattr(MemoryLeg, "blackhole", lambda leg, on: False)
    return bool(request.param)


def test_one_who_reads_hears_nothing_and_one_who_writes_is_reset(able: bool) -> None:
    nat, app, server = open_flow("rst-on-next", "rst-on-next")
    nat.advance(20)
    assert nat.told("flow-ended") == ["flow-ended"]
    assert (app.hears(), app.end, server.hears(), server.end) == (b"", "", b"", "")
    app.says(b"there?")
    nat.settle()
    assert (app.hears(), app.end, server.hears(), server.end) == (b"", "rst", b"", "")
    server.finishes()
    nat.settle()
    assert (server.hears(), server.end) == (b"", "rst")


def test_one_who_probes_is_reset_by_the_probe(able: bool) -> None:
    nat, app, _ = open_flow("rst-on-next")
    app.leg.set_keepalive(15, 1, 3)
    nat.advance(14)
    app.leg.set_keepalive(1, 1, 3)
    nat.advance(2)
    assert (app.hears(), app.end) == (b"", "rst")


def test_silence_ends_in_a_reset_and_not_before(able: bool) -> None:
    nat, app, server = open_flow("silence")
    nat.advance(10)
    app.says(b"there?")
    server.says(b"there?")
    nat.advance(29)
    assert (app.hears(), app.end, server.hears(), server.end) == (b"", "", b"", "")
    nat.advance(1)
    assert (app.hears(), app.end, server.hears(), server.end) == (b"", "rst", b"", "rst")


def test_a_tester_who_thaws_all_sides_wakes_no_forgotten_one(able: bool) -> None:
    nat, app, _ = open_flow("silence")
    nat.driver.freeze(Side.INTERNAL)
    nat.advance(10)
    app.says(b"there?")
    nat.driver.thaw(Side.INTERNAL)
    nat.advance(29)
    assert (app.hears(), app.end) == (b"", "")


def test_fin_closes_both_ways_and_what_comes_later_is_lost(able: bool) -> None:
    nat, app, server = open_flow("fin", "fin")
    nat.advance(10)
    assert nat.told("flow-ended") == ["flow-ended"]
    assert (app.hears(), app.end, server.hears(), server.end) == (b"", "fin", b"", "fin")


def test_what_waits_for_a_slow_reader_goes_before_the_fin(able: bool) -> None:
    settings = ("after_s=10", "counts=data", "internal=fin", "external=fin")
    nat = MemoryDriver("transparent", *(f"idle-timeout.{setting}" for setting in settings))
    app = nat.call(forward())
    server = nat.answer()
    app.leg.limit_window(1000)
    server.says(bytes(60_000))
    nat.advance(21)
    assert nat.told("flow-ended") == ["flow-ended"]
    heard = 0
    for _ in range(100):
        heard += len(app.hears())
        nat.settle()
    assert (heard, app.end) == (60_000, "fin")
