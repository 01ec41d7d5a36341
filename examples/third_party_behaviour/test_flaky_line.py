"""What chance does to a connection, with the numbers that are drawn given by the test.

pip install ./third_party_behaviour pytest
pytest third_party_behaviour
"""

from __future__ import annotations

from relay import Endpoint, load_profile
from relay.actions import Dial, Grant, SendRst, StartTimer
from relay.events import ConnectRequested, DialSucceeded, Side, TimerFired
from relay.testing.playbook import play

PROFILE = load_profile("transparent", ["flaky-line.share=0.5", "flaky-line.within_s=10"])
ASKED = ConnectRequested(0.0, Endpoint("192.0.2.1", 80), Side.INTERNAL)


def test_a_number_below_the_share_is_the_end_of_a_connection() -> None:
    play(
        PROFILE,
        (ASKED, [Dial()]),
        (DialSucceeded(0.2), [Grant(), (StartTimer("reset", 2.5), "flaky-line")]),
        (TimerFired(2.7, "reset"), [SendRst(Side.INTERNAL), SendRst(Side.EXTERNAL)]),
        chance=[0.49, 0.25],
    )


def test_any_other_number_is_not() -> None:
    play(PROFILE, (ASKED, [Dial()]), (DialSucceeded(0.2), [Grant()]), chance=[0.5])
