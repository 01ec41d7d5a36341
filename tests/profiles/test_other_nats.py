"""The central quirk of each NAT that is not VMware's, played: an event in, the profile's actions out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import pytest

from relay.actions import Action, Counts, Dial, Forget, Grant, Note, Refuse, SendFin, SendRst, SetKeepalive, WatchIdle
from relay.address import Endpoint
from relay.events import (
    ConnectRequested,
    DialFailed,
    DialFailure,
    DialSucceeded,
    Event,
    FailureKind,
    FinReceived,
    LinkWentDown,
    ProbeArrived,
    RstReceived,
    Side,
    WentIdle,
)
from relay.profiles import available, load_profile
from relay.testing.playbook import play

ASKED = ConnectRequested(0.0, Endpoint("192.0.2.1", 22), Side.INTERNAL)
REFUSED = DialFailure(FailureKind.REFUSED)


def connected(name: str) -> tuple[tuple[Event, list[Action]], ...]:
    """The beginning of a flow: the profile connects first, and watches for idleness if it has a limit."""
    idle = next((quirk.settings for quirk in load_profile(name).quirks if quirk.name == "idle-timeout"), None)
    watch = [] if idle is None else [watching(name)]
    return (ASKED, [Dial()]), (DialSucceeded(0.2), [Grant(), *watch])


def watching(name: str) -> WatchIdle:
    """What the profile asks for when a flow begins."""
    after_s, counts = LIMITS[name][:2]
    return WatchIdle("idle", after_s, counts)


def forget(side: Side, then: Literal["silence", "reset"]) -> Forget:
    return Forget(side, then, 900.0)


def silence(*sides: Side) -> list[Action]:
    return [forget(side, "silence") for side in sides]


BOTH = (Side.INTERNAL, Side.EXTERNAL)
LIMITS: Mapping[str, tuple[float, Counts, list[Action]]] = {
    "aws-ec2-nitro6": (350.0, "segments", silence(*BOTH)),
    "aws-nat-gateway": (350.0, "segments", [forget(Side.INTERNAL, "reset"), forget(Side.EXTERNAL, "silence")]),
    "aws-network-firewall": (350.0, "segments", silence(*BOTH)),
    "aws-nlb": (350.0, "segments", [forget(Side.INTERNAL, "reset"), forget(Side.EXTERNAL, "reset")]),
    "azure-load-balancer": (240.0, "segments", silence(*BOTH)),
    "cisco-asa": (3600.0, "segments", silence(*BOTH)),
    "docker-swarm": (900.0, "segments", silence(*BOTH)),
    "gcp-cloud-nat": (1200.0, "segments", silence(*BOTH)),
    "gcp-vpc": (600.0, "segments", silence(*BOTH)),
    "passt": (7200.0, "segments", [SendRst(Side.INTERNAL), SendRst(Side.EXTERNAL)]),
    "wsl2": (1800.0, "segments", silence(*BOTH)),
}
"""After how long, what traffic is, and what each side gets then."""


@pytest.mark.parametrize("name", LIMITS)
def test_a_connection_without_traffic_ends_as_its_nat_ends_it(name: str) -> None:
    after_s, _, ends = LIMITS[name]
    play(load_profile(name), *connected(name), (WentIdle(after_s + 0.2, "idle", 0.2), ends))


@pytest.mark.parametrize(("name", "half_closed_s"), [("docker-swarm", 60.0), ("cisco-asa", 600.0), ("passt", 60.0)])
def test_a_half_closed_connection_has_a_limit_of_its_own(name: str, half_closed_s: float) -> None:
    counts = LIMITS[name][1]
    play(
        load_profile(name),
        *connected(name),
        (FinReceived(1.0, Side.INTERNAL), [SendFin(Side.EXTERNAL), WatchIdle("idle", half_closed_s, counts)]),
    )


def test_the_limits_of_all_profiles_are_played() -> None:
    limited = [each.name for each in available() if any(quirk.name == "idle-timeout" for quirk in each.quirks)]
    assert sorted(LIMITS) == sorted(limited)


@pytest.mark.parametrize("name", ["slirp", "passt", "parallels"])
def test_user_space_nats_connect_first_and_refuse_as_the_server_does(name: str) -> None:
    play(load_profile(name), (ASKED, [Dial()]), (DialFailed(0.2, REFUSED), [Refuse(REFUSED)]))


@pytest.mark.parametrize("name", ["slirp", "passt"])
def test_an_apps_reset_is_an_orderly_end_to_the_server_and_the_servers_reset_is_one(name: str) -> None:
    play(load_profile(name), *connected(name), (RstReceived(1.0, Side.INTERNAL), [SendFin(Side.EXTERNAL)]))
    play(
        load_profile(name),
        *connected(name),
        (RstReceived(1.0, Side.EXTERNAL), [SendRst(Side.INTERNAL, after_data=True)]),
    )


def test_a_half_close_passes() -> None:
    play(load_profile("slirp"), *connected("slirp"), (FinReceived(1.0, Side.INTERNAL), [SendFin(Side.EXTERNAL)]))


def test_parallels_answers_probes_itself_and_probes_the_server_every_75_s() -> None:
    play(
        load_profile("parallels"),
        (ASKED, [Dial()]),
        (DialSucceeded(0.2), [Grant(), SetKeepalive(Side.EXTERNAL, 75, 75, count=9)]),
        (ProbeArrived(60.0, Side.INTERNAL), [Note("keepalive probe answered by the NAT, not the server")]),
    )


def test_parallels_drops_every_connection_when_its_daemon_restarts() -> None:
    play(
        load_profile("parallels"),
        (ASKED, [Dial()]),
        (DialSucceeded(0.2), [Grant(), SetKeepalive(Side.EXTERNAL, 75, 75, count=9)]),
        (LinkWentDown(1.0), [SendRst(Side.INTERNAL), SendRst(Side.EXTERNAL)]),
    )
