"""What a mapping of UDP is asked: when it begins, and when it ends."""

from __future__ import annotations

from relay.actions import Dial, Forget, Refuse, WatchIdle
from relay.address import Endpoint
from relay.behaviours import UdpTimeout, installed_behaviours
from relay.causes import Cause
from relay.events import ConnectRequested, DialFailed, DialFailure, DialSucceeded, FailureKind, Side, WentIdle
from relay.profiles import load_profile
from relay.testing.playbook import Playbook, connected, play

IN, OUT = Side.INTERNAL, Side.EXTERNAL


def test_an_idle_mapping_is_forgotten_on_both_sides_and_nothing_is_sent() -> None:
    flow = connected(UdpTimeout(60.0), steps=[WatchIdle("idle", 60.0, sweep_s=60.0)])
    play(flow, (WentIdle(60.0, "idle", 0.0), [Forget(IN, "silence", 0.0), Forget(OUT, "silence", 0.0)]))
    assert (flow.cause, flow.over) == (Cause.UDP_TIMEOUT, True)


def test_zero_is_for_ever() -> None:
    connected(UdpTimeout(0.0), steps=[])


def test_without_a_socket_there_is_no_mapping() -> None:
    failure = DialFailure(FailureKind.EXHAUSTED)
    flow = Playbook(UdpTimeout(60.0))
    play(flow, (ConnectRequested(0.0, Endpoint("192.0.2.1", 53), IN), [Dial()]))
    play(flow, (DialFailed(0.0, failure), [Refuse(failure)]))
    assert flow.over


def test_the_stacks_setting_is_its_own_and_it_has_no_table_in_a_profile() -> None:
    profile = load_profile("vmware-fusion", ["stack.udp_idle_s=7"])
    (behaviour,) = [make() for make in profile.datagram_lineup.makers]
    assert behaviour == UdpTimeout(7.0)
    assert load_profile("vmware-fusion").datagram_lineup.makers[0]() == UdpTimeout(60.0)
    assert UdpTimeout.name not in installed_behaviours()


def test_link_down_is_nothing_to_it() -> None:
    assert {event.__name__ for event in UdpTimeout.handled} == {
        "ConnectRequested",
        "DialFailed",
        "DialSucceeded",
        "WentIdle",
    }
    assert DialSucceeded in UdpTimeout.handled
