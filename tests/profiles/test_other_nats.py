"""The central quirk of each NAT that is not VMware's, played: an event in, the profile's actions out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import pytest

from relay.actions import (
    Action,
    Close,
    Counts,
    DelayDial,
    Dial,
    Forget,
    GiveSlot,
    Grant,
    Ignore,
    Note,
    Refuse,
    SendFin,
    SendRst,
    SetKeepalive,
    StartTimer,
    TakeSlot,
    WatchIdle,
)
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
    SlotDenied,
    SlotTaken,
    TimerFired,
    WentIdle,
)
from relay.profiles import available, load_profile
from relay.testing.playbook import Playbook, play

ASKED = ConnectRequested(0.0, Endpoint("192.0.2.1", 22), Side.INTERNAL)
REFUSED = DialFailure(FailureKind.REFUSED)


PROXIES = (
    *("aws-elb", "cloudflare-gateway", "docker-published-port", "envoy", "haproxy", "nginx-stream"),
    *("kubectl-port-forward", "wsl-localhost"),
)
"""They accept first."""
SLOTS: Mapping[str, TakeSlot] = {
    "aws-nat-gateway": TakeSlot("flows", 55_000, "destination"),
    "azure-app-service": TakeSlot("flows", 128, "destination"),
    "azure-nat-gateway": TakeSlot("flows", 50_000, "destination"),
    "docker-desktop": TakeSlot("flows", 2000, "relay"),
    "gcp-cloud-nat": TakeSlot("flows", 64, "destination"),
    "podman-machine": TakeSlot("dials", 10, "relay"),
}
"""What a connection takes of which there is only so much."""


def connected(name: str) -> tuple[tuple[Event, list[Action]], ...]:
    """The beginning of a flow: the profile connects first, and watches for idleness if it has a limit."""
    idle = next((quirk.settings for quirk in load_profile(name).quirks if quirk.name == "idle-timeout"), None)
    watch = [] if idle is None else [watching(name)]
    if name in PROXIES:
        return (ASKED, [Grant(), Dial()]), (DialSucceeded(0.2), list(watch))
    if name in SLOTS:
        slot = SLOTS[name]
        return (ASKED, [slot]), (SlotTaken(0.0, slot.pool), [Dial()]), (DialSucceeded(0.2), [Grant(), *watch])
    return (ASKED, [Dial()]), (DialSucceeded(0.2), [Grant(), *watch])


def watching(name: str) -> WatchIdle:
    """What the profile asks for when a flow begins."""
    after_s, counts = LIMITS[name][:2]
    of, sweep_s = (Side.INTERNAL, 30.0) if name == "docker-desktop" else (None, 0.0)
    return WatchIdle("idle", after_s, counts, of, sweep_s)


def forget(side: Side, then: Literal["silence", "reset"]) -> Forget:
    return Forget(side, then, 900.0)


def silence(*sides: Side) -> list[Action]:
    return [forget(side, "silence") for side in sides]


def fins(*sides: Side) -> list[Action]:
    return [Close(side) for side in sides]


NO_LUCK = [0.99, 0.99]
"""No SYN is lost, and no reset is due."""
BOTH = (Side.INTERNAL, Side.EXTERNAL)
LIMITS: Mapping[str, tuple[float, Counts, list[Action]]] = {
    "aws-ec2-nitro6": (350.0, "segments", silence(*BOTH)),
    "aws-elb": (60.0, "data", [SendRst(Side.INTERNAL), Close(Side.EXTERNAL)]),
    "aws-nat-gateway": (350.0, "segments", [forget(Side.INTERNAL, "reset"), forget(Side.EXTERNAL, "silence")]),
    "aws-network-firewall": (350.0, "segments", silence(*BOTH)),
    "aws-nlb": (350.0, "segments", [forget(Side.INTERNAL, "reset"), forget(Side.EXTERNAL, "reset")]),
    "azure-app-service": (240.0, "segments", silence(*BOTH)),
    "azure-load-balancer": (240.0, "segments", silence(*BOTH)),
    "azure-nat-gateway": (240.0, "segments", [forget(Side.INTERNAL, "reset"), forget(Side.EXTERNAL, "reset")]),
    "cisco-asa": (3600.0, "segments", silence(*BOTH)),
    "cloudflare-gateway": (270.0, "data", fins(*BOTH)),
    "docker-desktop": (300.0, "segments", fins(*BOTH)),
    "docker-swarm": (900.0, "segments", silence(*BOTH)),
    "envoy": (3600.0, "data", fins(*BOTH)),
    "fortigate": (3600.0, "segments", silence(*BOTH)),
    "gcp-cloud-nat": (1200.0, "segments", silence(*BOTH)),
    "gcp-vpc": (600.0, "segments", silence(*BOTH)),
    "haproxy": (50.0, "data", fins(*BOTH)),
    "kubernetes": (86400.0, "segments", [forget(Side.INTERNAL, "silence"), forget(Side.EXTERNAL, "reset")]),
    "nginx-stream": (600.0, "data", fins(*BOTH)),
    "palo-alto": (3600.0, "segments", silence(*BOTH)),
    "passt": (7200.0, "segments", [SendRst(Side.INTERNAL), SendRst(Side.EXTERNAL)]),
    "wsl2": (1800.0, "segments", silence(*BOTH)),
}
"""After how long, what traffic is, and what each side gets then."""


@pytest.mark.parametrize("name", LIMITS)
def test_a_connection_without_traffic_ends_as_its_nat_ends_it(name: str) -> None:
    after_s, _, ends = LIMITS[name]
    chance = NO_LUCK if name == "kubernetes" else []
    play(load_profile(name), *connected(name), (WentIdle(after_s + 0.2, "idle", 0.2), ends), chance=chance)


@pytest.mark.parametrize(
    ("name", "half_closed_s"), [("docker-swarm", 60.0), ("cisco-asa", 600.0), ("passt", 60.0), ("palo-alto", 120.0)]
)
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


def test_the_shared_limits_of_all_profiles_are_played() -> None:
    limits = {"flow-limit", "pending-limit"}
    limited = [each.name for each in available() if any(quirk.name in limits for quirk in each.quirks)]
    assert sorted(SLOTS) == sorted(limited)


REFUSING = ("aws-nat-gateway", "docker-desktop")


@pytest.mark.parametrize("name", SLOTS)
def test_one_connection_too_many_hears_nothing_or_is_refused(name: str) -> None:
    slot = SLOTS[name]
    flow = Playbook(load_profile(name)).play((ASKED, [slot]))
    if name in REFUSING:
        text = "2000 connections are" if name == "docker-desktop" else "55000 connections to this destination are"
        answer: Action = Refuse(DialFailure(FailureKind.REFUSED, f"{text} open, or count still"))
    else:
        answer = Ignore(130.0, once=True)
    assert flow.play((SlotDenied(0.0, slot.pool), [answer])).over


@pytest.mark.parametrize(("name", "fin_s", "rst_s"), [("azure-nat-gateway", 65.0, 16.0), ("gcp-cloud-nat", 30.0, 0.0)])
def test_a_port_rests_after_its_connection(name: str, fin_s: float, rst_s: float) -> None:
    watch = watching(name)
    play(
        load_profile(name),
        *connected(name),
        (FinReceived(1.0, Side.INTERNAL), [SendFin(Side.EXTERNAL), watch]),
        (FinReceived(2.0, Side.EXTERNAL), [SendFin(Side.INTERNAL), watch, GiveSlot("flows", fin_s)]),
    )
    rest = [GiveSlot("flows", rst_s)] if rst_s else []
    reset = SendRst(Side.INTERNAL, after_data=True)
    play(load_profile(name), *connected(name), (RstReceived(1.0, Side.EXTERNAL), [reset, *rest]))


def test_podman_machine_gives_a_dial_s_place_back_when_it_is_through() -> None:
    keepalive = SetKeepalive(Side.EXTERNAL, 60, 60, count=9)
    play(
        load_profile("podman-machine"),
        *connected("podman-machine")[:2],
        (DialSucceeded(0.2), [Grant(), keepalive, GiveSlot("dials")]),
        (RstReceived(1.0, Side.EXTERNAL), [SendFin(Side.INTERNAL)]),
    )


@pytest.mark.parametrize("name", ["slirp", "passt", "parallels"])
def test_user_space_nats_connect_first_and_refuse_as_the_server_does(name: str) -> None:
    play(load_profile(name), (ASKED, [Dial()]), (DialFailed(0.2, REFUSED), [Refuse(REFUSED)]))


@pytest.mark.parametrize("name", PROXIES)
def test_a_proxy_accepts_what_the_server_refuses_and_ends_it_orderly(name: str) -> None:
    play(load_profile(name), (ASKED, [Grant(), Dial()]), (DialFailed(0.2, REFUSED), [Close(Side.INTERNAL)]))


@pytest.mark.parametrize("side", Side)
@pytest.mark.parametrize("name", ["docker-published-port", "nginx-stream"])
def test_a_reset_of_either_side_is_an_orderly_end_to_the_other(name: str, side: Side) -> None:
    play(load_profile(name), *connected(name), (RstReceived(1.0, side), [SendFin(side.other)]))


def test_haproxy_passes_the_apps_reset_on_and_not_the_servers() -> None:
    to_server, to_app = SendRst(Side.EXTERNAL, after_data=True), SendFin(Side.INTERNAL)
    play(load_profile("haproxy"), *connected("haproxy"), (RstReceived(1.0, Side.INTERNAL), [to_server]))
    play(load_profile("haproxy"), *connected("haproxy"), (RstReceived(1.0, Side.EXTERNAL), [to_app]))


def test_a_half_close_ends_the_connection_behind_nginx() -> None:
    play(
        load_profile("nginx-stream"),
        *connected("nginx-stream"),
        (
            FinReceived(1.0, Side.INTERNAL),
            [SendFin(Side.EXTERNAL), SendFin(Side.INTERNAL), watching("nginx-stream")],
        ),
    )


def test_a_refusal_is_silence_with_mirrored_networking() -> None:
    play(load_profile("wsl2-mirrored"), (ASKED, [Dial()]), (DialFailed(0.2, REFUSED), [Ignore(130.0)]))


def test_kubernetes_delays_some_dials_and_resets_some_connections() -> None:
    named = ConnectRequested(0.0, Endpoint("db.example", 22), Side.INTERNAL)
    play(
        load_profile("kubernetes"),
        (named, [DelayDial(5.0 + 1.0), Dial()]),
        (DialSucceeded(0.2), [Grant(), StartTimer("stray", 5.0), watching("kubernetes")]),
        (TimerFired(5.2, "stray"), [SendRst(Side.INTERNAL), SendRst(Side.EXTERNAL)]),
        chance=[
            0.009,
            0.009,
            0.5,
            0.009,
            0.5,
        ],  # the name's, one SYN's, the next SYN's; whether there is a reset, and when
    )


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
