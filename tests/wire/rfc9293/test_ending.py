"""RFC 9293 section 3.6: how connections end."""

from __future__ import annotations

from support.packetdrill.player import play_opened

CLOSED_BY_US = """
    +0 close(4) = 0
    +0 > F. 1:1(0) ack 1
    +0 < F. 1:1(0) ack 2 win 64240
    +0 > . 2:2(0) ack 2
"""


def test_must_12_an_abort_is_not_taken_for_an_end() -> None:
    play_opened("+0 < R 1:1(0) win 0\n+0 saw(ESTABLISHED, RST, CLOSED)\n+0 read(4, ..., 9) = -1 ECONNRESET\n")
    play_opened("+0 < F. 1:1(0) ack 1 win 10\n+0 > . 1:1(0) ack 2\n+0 saw(ESTABLISHED, FIN)\n+0 read(4, ..., 9) = 0\n")


def test_may_1_a_half_closed_connection_carries_on_in_the_other_half() -> None:
    play_opened("""
        +0 shutdown(4, SHUT_WR) = 0
        +0 > F. 1:1(0) ack 1
        +0 < . 1:1(0) ack 2 win 64240
        +3600 < P. 1:6(5) ack 2 win 64240
        +.04 > . 2:2(0) ack 6
        +0 read(4, ..., 10) = 5
    """)


def test_shld_3_a_close_that_loses_bytes_is_a_rst() -> None:
    play_opened("+0 < P. 1:6(5) ack 1 win 10\n+.04 > . 1:1(0) ack 6\n+0 close(4) = 0\n+0 > R 1:1(0)\n")


def test_shld_3_so_are_bytes_that_come_after_it() -> None:
    play_opened("+0 close(4) = 0\n+0 > F. 1:1(0) ack 1\n+0 < P. 1:6(5) ack 2 win 10\n+0 > R 2:2(0)\n")


def test_must_13_time_wait_lasts_twice_a_segments_lifetime_from_the_last_fin() -> None:
    play_opened(
        CLOSED_BY_US
        + """
        +59.9 state(TIME_WAIT)
        +0 < F. 1:1(0) ack 2 win 64240
        +0 > . 2:2(0) ack 2
        +59.9 state(TIME_WAIT)
        +.2 state(CLOSED)
    """
    )
    play_opened(CLOSED_BY_US + "+29.9 state(TIME_WAIT)\n+.2 state(CLOSED)\n", time_wait_s=30)
    play_opened(CLOSED_BY_US + "+0 state(CLOSED)\n", time_wait_s=0)


def test_may_2_a_later_syn_reuses_the_ports_out_of_time_wait() -> None:
    play_opened(CLOSED_BY_US + "+1 < S 2:2(0) win 10\n+0 saw(ESTABLISHED, FIN, CLOSED, REUSED)\n")
    play_opened(CLOSED_BY_US + "+1 < S 1:1(0) win 10\n+0 > . 2:2(0) ack 2\n+0 state(TIME_WAIT)\n")
