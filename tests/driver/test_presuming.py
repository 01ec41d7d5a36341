"""The probes that an advance of the clock leaves no time for: which are presumed, when, and what is said of them."""

from __future__ import annotations

import math
from typing import Any

import pytest

from relay.actions import SetKeepalive, WatchIdle
from relay.driver.flow import Flow
from relay.driver.presuming import Probes, presume_no_more, presume_probes, tell_what_stays
from relay.events import Side
from relay.legs import PeerSocket
from relay.profiles import add_behaviours, load_profile
from relay.testing import MemoryLeg
from support.memory_driver import End, MemoryDriver, forward
from support.performing import perform
from support.watching import Watching, notes

_SEGMENTS = WatchIdle("quiet", 10.0, "segments")


@pytest.mark.parametrize(
    ("now_s", "count", "last_s", "next_s"),
    [(9.9, 0, -math.inf, 10), (10, 1, 10, 15), (14.9, 1, 10, 15), (15, 2, 15, 20), (20, 3, 20, 25), (26, 4, 25, 30)],
)
def test_probes_are_sent_from_their_first_moment_on(now_s: float, count: int, last_s: float, next_s: float) -> None:
    probes = Probes(10, 5)
    assert (probes.until(now_s), probes.last_s(now_s), probes.after(now_s)) == (count, last_s, Probes(next_s, 5))


class Peers:
    """What is known of the sockets at the other ends of a flow's legs, as a test says."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **known: PeerSocket | None) -> None:
        self.of = {Side.named(name, where="test"): peer for name, peer in known.items()}  # type: ignore[arg-type]
        monkeypatch.setattr(MemoryLeg, "look_at_peer", lambda leg: self.of.get(leg.side))


def open_flow(watch: WatchIdle = _SEGMENTS, began_s: float = 0) -> tuple[MemoryDriver, Flow, End, End]:
    nat = MemoryDriver()
    nat.advance(began_s)
    nat.driver.profile = add_behaviours(load_profile("transparent"), [Watching(watch)])
    app, server = nat.call(forward()), nat.answer()
    (flow,) = nat.driver.flows.values()
    return nat, flow, app, server


def pass_time(nat: MemoryDriver, flow: Flow, seconds: float) -> list[dict[str, Any]]:
    """Move the clock as an advance does; gives what is presumed."""
    nat.records.clear()
    presume_probes(flow, seconds)
    told = [dict(record.fields) for record in nat.records if record.event == "keepalive-presumed"]
    nat.advance(seconds)
    presume_no_more(flow)
    return told


_NOTHING = PeerSocket(0, None, None)


def probing(in_s: float, every_s: float | None) -> PeerSocket:
    return PeerSocket(0, in_s, every_s)


@pytest.mark.parametrize(
    ("in_s", "count", "idle"),
    [(4, 4, []), (9, 3, []), (10, 3, []), (11, 3, ["quiet since 0, at 10"]), (24, 1, ["quiet since 0, at 10"])],
)
def test_probes_of_either_side_keep_a_flow_at_their_moments(
    monkeypatch: pytest.MonkeyPatch, in_s: float, count: int, idle: list[str]
) -> None:
    for side in ("internal", "external"):
        Peers(monkeypatch, **({"internal": _NOTHING, "external": _NOTHING} | {side: probing(in_s, 7)}))
        nat, flow, _, _ = open_flow()
        told = pass_time(nat, flow, 25)
        assert told == [{"side": side, "probes": count, "every_s": 7, "known_by": "the socket's options"}]
        assert notes(nat) == idle


def test_where_only_the_next_probe_is_known_it_is_taken_to_be_as_often_as_the_flow_has_lasted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Peers(monkeypatch, internal=probing(2.0, None), external=_NOTHING)
    nat, flow, _, _ = open_flow(began_s=50)
    nat.advance(3.4)
    told = pass_time(nat, flow, 12)
    known_by = "its kernel's timer, approximate"
    assert told == [{"side": "internal", "probes": 3, "every_s": 5, "known_by": known_by}]
    Peers(monkeypatch, internal=probing(0.2, None), external=_NOTHING)
    nat, flow, _, _ = open_flow()
    assert pass_time(nat, flow, 3)[0]["every_s"] == 1, "no kernel probes more often"


def test_probes_go_by_the_clock_that_the_nat_has(monkeypatch: pytest.MonkeyPatch) -> None:
    Peers(monkeypatch, internal=probing(4, 7), external=_NOTHING)
    nat, flow, _, _ = open_flow()
    nat.loop.scale = 2.0
    assert pass_time(nat, flow, 30)[0] == {
        "side": "internal",
        "probes": 2,
        "every_s": 14,
        "known_by": "the socket's options",
    }


def test_the_next_advance_goes_on_from_the_last_probe_unless_something_was_carried(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Peers(monkeypatch, internal=probing(9, 9), external=_NOTHING)
    nat, flow, app, _ = open_flow()
    told = [pass_time(nat, flow, 6) for _ in range(3)]
    assert [bool(each) for each in told] == [False, True, True], "the second is due at 9 s, the third at 18 s"
    nat.advance(1)
    app.says(b"x")
    nat.settle()
    assert pass_time(nat, flow, 8) == []
    assert notes(nat) == []
    assert pass_time(nat, flow, 0.5) == []
    assert len(pass_time(nat, flow, 1.0)) == 1


def test_what_is_presumed_counts_no_more_once_the_advance_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    Peers(monkeypatch, internal=probing(4, 7), external=_NOTHING)
    nat, flow, _, _ = open_flow()
    pass_time(nat, flow, 12)
    nat.advance(8.9)
    assert notes(nat) == []
    nat.advance(0.2)
    assert notes(nat) == ["quiet since 11, at 21"]


@pytest.mark.parametrize(
    ("watch", "said"),
    [
        (_SEGMENTS, True),
        (WatchIdle("quiet", 10.0, "segments", of=Side.INTERNAL), True),
        (WatchIdle("quiet", 10.0, "segments", of=Side.EXTERNAL), False),
        (WatchIdle("quiet", 10.0, "data"), False),
    ],
)
def test_it_is_said_that_an_idle_flow_s_app_may_have_sent_probes(
    monkeypatch: pytest.MonkeyPatch, watch: WatchIdle, said: bool
) -> None:
    Peers(monkeypatch, internal=None, external=None)
    nat, flow, _, _ = open_flow(watch)
    pass_time(nat, flow, 11)
    what = "probes that the app's socket may send; this host cannot look at it"
    assert [record.fields["what"] for record in nat.records if record.event == "not-advanced"] == [what] * said
    assert len(notes(nat)) == 1


def test_it_is_not_said_of_a_server_nor_after_the_advance(monkeypatch: pytest.MonkeyPatch) -> None:
    peers = Peers(monkeypatch, internal=_NOTHING, external=None)
    nat, flow, _, _ = open_flow()
    pass_time(nat, flow, 11)
    assert nat.told("not-advanced") == []
    peers.of[Side.INTERNAL] = None
    nat, flow, _, _ = open_flow()
    pass_time(nat, flow, 5)
    nat.advance(6)
    assert (nat.told("not-advanced"), len(notes(nat))) == ([], 1)


def test_a_side_that_is_over_sends_no_probes(monkeypatch: pytest.MonkeyPatch) -> None:
    Peers(monkeypatch, internal=probing(1, 1), external=probing(1, 1))
    nat = MemoryDriver("transparent", "close-mapping.enabled=false")
    nat.driver.profile = add_behaviours(nat.driver.profile, [Watching(_SEGMENTS)])
    nat.call(forward())
    server = nat.answer()
    (flow,) = nat.driver.flows.values()
    server.resets()
    nat.settle()
    assert [each["side"] for each in pass_time(nat, flow, 2)] == ["internal"]


def test_the_nats_own_probes_are_said_to_stay_where_they_would_be_due() -> None:
    nat, flow, _, _ = open_flow()
    for side, idle_s in ((Side.INTERNAL, 30), (Side.EXTERNAL, 40)):
        perform(flow, SetKeepalive(side, idle_s, interval_s=2, count=3), "a test")
    nat.records.clear()
    tell_what_stays(flow, 29)
    assert nat.told("not-advanced") == []
    tell_what_stays(flow, 30)
    assert nat.fields("not-advanced")["what"] == ("the NAT's keepalive probes to the app, due after 30 s of silence")
    nat.records.clear()
    tell_what_stays(flow, 40)
    assert [record.fields["what"].split()[6] for record in nat.records] == ["app,", "server,"]
