"""RFC 9293 section 3.10.7.4: the eight checks of a segment that arrives, with RFC 5961's changes."""

from __future__ import annotations

import pytest

from relay.wire.sequence import acceptable
from support.packetdrill.player import play_opened

EXPECTED, RIGHT = 1000, 1100


@pytest.mark.parametrize(
    ("start", "length", "right", "is_acceptable"),
    [
        (1000, 0, EXPECTED, True),  # no length, no window
        (999, 0, EXPECTED, False),
        (1001, 0, EXPECTED, False),
        (1000, 0, RIGHT, True),  # no length, a window
        (1099, 0, RIGHT, True),
        (1100, 0, RIGHT, False),
        (999, 0, RIGHT, False),
        (1000, 1, EXPECTED, False),  # a length, no window
        (1000, 1, RIGHT, True),  # a length, a window
        (1099, 50, RIGHT, True),
        (1100, 1, RIGHT, False),
        (999, 1, RIGHT, False),
        (999, 2, RIGHT, True),
        (900, 1000, RIGHT, False),  # neither its first nor its last octet: as the four cases have it
    ],
)
def test_first_check_the_four_cases(start: int, length: int, right: int, is_acceptable: bool) -> None:
    assert acceptable(start, length, EXPECTED, right) is is_acceptable


@pytest.mark.parametrize(
    "arrives", [". 90000:90000(0) ack 1", "P. 0:1(1) ack 1", "F. 90000:90000(0) ack 1", ". 0:0(0) ack 1"]
)
def test_first_check_what_is_unacceptable_is_answered_by_what_is_expected(arrives: str) -> None:
    play_opened(f"+0 < {arrives} win 10\n+0 > . 1:1(0) ack 1\n+0 state(ESTABLISHED)\n")


def test_first_check_an_unacceptable_rst_is_not() -> None:
    play_opened("+0 < R 90000:90000(0) win 10\n+0 < R. 0:0(0) ack 1 win 10\n+0 state(ESTABLISHED)\n")


def test_second_check_only_a_rst_at_the_next_number_resets() -> None:
    play_opened("+0 < R 2:2(0) win 10\n+0 > . 1:1(0) ack 1\n+0 < R 1:1(0) win 10\n+0 state(CLOSED)\n")


def test_second_check_by_rfc_793_any_rst_in_the_window_does() -> None:
    play_opened("+0 < R 2:2(0) win 10\n+0 state(CLOSED)\n", rst="window")


def test_shld_2_a_rst_may_carry_data() -> None:
    play_opened("+0 < R 1:9(8) win 10\n+0 state(CLOSED)\n")


@pytest.mark.parametrize("marked", ["S. 1:1(0) ack 1", "P. 1:6(5) ack 1", ". 1:1(0) ack 90000", "F. 1:1(0) ack 1"])
def test_third_check_a_precedence_is_looked_at_before_syn_ack_text_and_fin(marked: str) -> None:
    play_opened(
        f"+0 watch_tos(4, 0xe0)\n+0 < [tos 0x20] {marked} win 10\n+0 saw(ESTABLISHED, TOS)\n+0 state(ESTABLISHED)\n"
    )


def test_third_check_it_is_not_made_unless_asked_for() -> None:
    play_opened("+0 < [tos 0xff] P. 1:6(5) ack 1 win 10\n+.04 > . 1:1(0) ack 6\n")


def test_fourth_check_a_syn_is_challenged() -> None:
    play_opened("+0 < S 1:1(0) win 10\n+0 > . 1:1(0) ack 1\n+0 state(ESTABLISHED)\n")


def test_fifth_check_without_ack_a_segment_is_dropped() -> None:
    play_opened("+0 < P 1:6(5) win 10\n+1 read(4, ..., 10) = -1 EAGAIN\n")


def test_fifth_check_may_12_an_ack_is_of_what_was_sent_and_not_of_long_ago() -> None:
    play_opened("""
        +0 < P. 1:6(5) ack 2 win 64240
        +0 > . 1:1(0) ack 1
        +0 < P. 1:6(5) ack 1 win 64240
        +.04 > . 1:1(0) ack 6
    """)


def test_sixth_check_must_30_31_32_33_62_urgent_data_stay_in_line() -> None:
    play_opened("""
        +0 < PU. 1:6(5) ack 1 win 64240 urg 5
        +.04 > . 1:1(0) ack 6
        +0 < U. 6:6(0) ack 1 win 64240 urg 65535
        +0 read(4, ..., 10) = 5
    """)


def test_seventh_check_shld_31_may_13_early_text_is_kept_and_acknowledged_at_once() -> None:
    play_opened("""
        +0 < P. 6:11(5) ack 1 win 64240
        +0 > . 1:1(0) ack 1
        +0 < P. 1:6(5) ack 1 win 64240
        +0 > . 1:1(0) ack 11
        +0 read(4, ..., 20) = 10
    """)


def test_eighth_check_a_fin_counts_once_everything_before_it_is_there() -> None:
    play_opened("""
        +0 < F. 6:6(0) ack 1 win 64240
        +0 > . 1:1(0) ack 1
        +0 state(ESTABLISHED)
        +0 < P. 1:6(5) ack 1 win 64240
        +0 > . 1:1(0) ack 7
        +0 state(CLOSE_WAIT)
    """)
