"""RFC 9293 sections 3.4 and 3.5, and 3.10.7.1 to 3.10.7.3: how connections begin, and what is there before one does."""

from __future__ import annotations

import random

import pytest

from relay.stack import Stack
from relay.wire.isn import Isn
from relay.wire.packet import undotted
from relay.wire.reach import Reach
from support.packetdrill.player import play
from support.small_nat import ADDRESSES

ENDS = (undotted("192.168.27.128"), 40_000, undotted("192.0.2.7"), 80)


def test_must_8_9_shld_1_initial_numbers_follow_a_clock_and_a_secret() -> None:
    one, other = (Isn(Stack(isn="clock"), random.Random(seed).getrandbits) for seed in (1, 2))  # noqa: S311
    assert one.pick(ENDS, 2.0) - one.pick(ENDS, 1.0) == 250_000
    assert one.pick(ENDS, 1.0) != other.pick(ENDS, 1.0)


def test_must_10_a_simultaneous_open_establishes_one_connection() -> None:
    play("""
        dial()
        +0 > S 0:0(0)  <mss 1460>
        +0 < S 0:0(0) win 1000 <mss 1460>
        +0 > S. 0:0(0) ack 1 <mss 1460>
        +0 < S. 0:0(0) ack 1 win 1000 <mss 1460>
        +0 state(ESTABLISHED)
    """)


@pytest.mark.parametrize("dialled", [True, False])
def test_must_11_a_rst_in_syn_received_ends_either_kind_of_open(dialled: bool) -> None:
    start = "dial()\n+0 > S 0:0(0) <mss 1460>\n" if dialled else ""
    play(f"""{start}
        +0 < S 0:0(0) win 1000 <mss 1460>
        +0 > S. 0:0(0) ack 1 <mss 1460>
        +0 < R 1:1(0) win 0
        +0 saw(RST, CLOSED)
    """)


@pytest.mark.parametrize("destination", ["224.0.0.1", "239.255.255.250", "255.255.255.255", "192.168.27.255"])
def test_must_46_57_a_syn_to_a_multicast_or_broadcast_address_goes_nowhere(destination: str) -> None:
    assert not Reach(ADDRESSES).may_reach(undotted(destination))


@pytest.mark.parametrize(
    "source", ["224.0.0.1", "255.255.255.255", "192.168.27.255", "0.0.0.0", "127.0.0.1", "8.8.8.8"]
)
def test_must_63_a_syn_from_an_invalid_source_is_dropped(source: str) -> None:
    assert not Reach(ADDRESSES).may_send(undotted(source))


def test_section_3_10_7_1_without_a_connection_every_segment_but_a_rst_is_reset() -> None:
    play("""
        +0 < . 5:15(10) ack 44 win 10
        +0 > R 44:44(0) win 0
        +0 < P 5:15(10) win 10
        +0 > R. 0:0(0) ack 15 win 0
        +0 < F 5:5(0) win 10
        +0 > R. 0:0(0) ack 6 win 0
        +0 < R 5:5(0) win 10
        +0 < R. 5:5(0) ack 44 win 10
    """)


def test_section_3_10_7_2_without_syn_ack_and_rst_a_segment_is_dropped() -> None:
    play("+0 < - 5:5(0) win 10\n+0 < U 5:5(0) win 10 urg 1\n")


@pytest.mark.parametrize(
    ("arrives", "sent"),
    [
        ("< . 0:0(0) ack 7 win 10", "> R 7:7(0)"),
        ("< S. 0:0(0) ack 7 win 10", "> R 7:7(0)"),
        ("< R. 0:0(0) ack 7 win 10", ""),
        ("< R 0:0(0) win 10", ""),
        ("< . 0:0(0) ack 1 win 10", ""),
        ("< - 0:0(0) win 10", ""),
    ],
)
def test_section_3_10_7_3_what_a_dial_answers_while_it_waits(arrives: str, sent: str) -> None:
    play(f"""
        dial()
        +0 > S 0:0(0) <mss 1460>
        +0 {arrives}
        {"+0 " + sent if sent else ""}
        +0 state(SYN_SENT)
    """)
