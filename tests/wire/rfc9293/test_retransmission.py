"""RFC 9293 section 3.8, with RFC 6298: retransmission, failures, keepalive probes."""

from __future__ import annotations

import pytest

from relay.stack import Stack
from support.packetdrill.player import play, play_opened

SENT = "+0 write(4, ..., 5) = 5\n+0 > P. 1:6(5) ack 1\n"


def test_must_18_the_timeout_doubles_and_stays_so_until_something_new_is_measured() -> None:
    play_opened(
        SENT
        + """
        +1 > P. 1:6(5) ack 1
        +2 > P. 1:6(5) ack 1
        +0 < . 1:1(0) ack 6 win 64240
        +0 write(4, ..., 5) = 5
        +0 > P. 6:11(5) ack 1
        +4 > P. 6:11(5) ack 1
    """
    )


def test_must_18_rfc_6298_2_4_it_is_never_below_a_second() -> None:
    play_opened(
        SENT
        + """
        +.001 < . 1:1(0) ack 6 win 64240
        +0 write(4, ..., 5) = 5
        +0 > P. 6:11(5) ack 1
        +1 > P. 6:11(5) ack 1
    """
    )


def test_must_19_loss_is_repaired_without_a_congestion_window() -> None:
    """The link is virtual and the window 64240 bytes: all of it goes at once, and three duplicates are a loss."""
    play_opened("""
        +0 write(4, ..., 5840) = 5840
        +0 > . 1:1461(1460) ack 1
        +0 > . 1461:2921(1460) ack 1
        +0 > . 2921:4381(1460) ack 1
        +0 > P. 4381:5841(1460) ack 1
        +0 < . 1:1(0) ack 1 win 64240
        +0 < . 1:1(0) ack 1 win 64240
        +0 < . 1:1(0) ack 1 win 64240
        +0 > . 1:1461(1460) ack 1
    """)


def test_must_20_shld_10_11_a_silent_guest_is_given_up_after_100_s_and_more_than_three_tries() -> None:
    player = play_opened(
        SENT + "".join(f"+{wait} > P. 1:6(5) ack 1\n" for wait in (1, 2, 4, 8, 16, 32)) + "+60 state(CLOSED)\n"
    )
    assert Stack().retransmit_tries > 3
    assert player.now_s > 100


@pytest.mark.parametrize(("tries", "waits"), [(1, [1]), (2, [1, 2])])
def test_must_21_how_often_is_a_setting(tries: int, waits: list[int]) -> None:
    again = "".join(f"+{wait} > P. 1:6(5) ack 1\n" for wait in waits)
    play_opened(SENT + again + f"+{2 * waits[-1]} state(CLOSED)\n", retransmit_tries=tries)


def test_must_22_23_a_syn_is_given_up_after_three_minutes() -> None:
    again = "".join(f"+{wait} > S 0:0(0) <mss 1460>\n" for wait in (0, 1, 2, 4, 8, 16, 32, 60))
    assert play("dial()\n" + again + "+60 state(CLOSED)\n").now_s > 180


def test_must_24_25_keepalive_is_off_by_default() -> None:
    play_opened("+100000 state(ESTABLISHED)\n")


def test_must_26_27_28_probes_come_after_silence_of_a_length_that_can_be_set() -> None:
    play_opened("""
        +0 keepalive(4, 7200, 75, 9)
        +7200 > . 0:0(0) ack 1
        +0 < . 1:1(0) ack 1 win 64240
        +7199 < P. 1:6(5) ack 1 win 64240
        +.04 > . 1:1(0) ack 6
        +7199.96 > . 0:0(0) ack 6
    """)


def test_must_29_one_unanswered_probe_is_not_death() -> None:
    play_opened("""
        +0 keepalive(4, 60, 10, 2)
        +60 > . 0:0(0) ack 1
        +10 > . 0:0(0) ack 1
        +9.9 state(ESTABLISHED)
        +.2 saw(ESTABLISHED, TIMED_OUT, CLOSED)
    """)


def test_shld_12_probes_have_no_data_and_theirs_are_answered_with_or_without() -> None:
    play_opened("""
        +9 < . 0:0(0) ack 1 win 64240
        +0 > . 1:1(0) ack 1
        +9 < . 0:1(1) ack 1 win 64240
        +0 > . 1:1(0) ack 1
        +0 saw(ESTABLISHED, PROBE)
    """)


def test_a_keepalive_is_not_begun_before_the_handshake_is_over_nor_after_the_end() -> None:
    play("""
        +0 < S 0:0(0) win 64240 <mss 1460>
        +0 keepalive(4, 1, 1, 1)
        +5 grant()
        +0 > S. 0:0(0) ack 1 <mss 1460>
        +.5 < . 1:1(0) ack 1 win 64240
        +1 > . 0:0(0) ack 1
        +.5 < R 1:1(0) win 0
        +0 keepalive(4, 1, 1, 1)
        +9 state(CLOSED)
    """)
