"""RFC 9293 section 3.8.6: windows, silly windows and delayed acknowledgements; 3.9.1.2: push."""

from __future__ import annotations

from relay.stack import Stack
from relay.wire.segment import ACK, SYN, Segment
from relay.wire.tcp import Tcp
from support.packetdrill.player import play, play_opened


def test_must_34_shld_15_16_a_window_that_is_taken_back_is_survived() -> None:
    play_opened("""
        +0 write(4, ..., 2000) = 2000
        +0 > . 1:1461(1460) ack 1
        +0 > P. 1461:2001(540) ack 1
        +0 < . 1:1(0) ack 1 win 100
        +0 write(4, ..., 10) = 10
        +1 > . 1:1461(1460) ack 1
        +0 < . 1:1(0) ack 2001 win 100
        +0 > P. 2001:2011(10) ack 1
    """)


def test_must_35_36_shld_17_29_30_a_window_without_room_is_probed_less_and_less_often() -> None:
    play_opened("""
        +0 < . 1:1(0) ack 1 win 0
        +0 write(4, ..., 10) = 10
        +1 > . 1:2(1) ack 1
        +0 < . 1:1(0) ack 1 win 0
        +2 > . 1:2(1) ack 1
        +0 < . 1:1(0) ack 1 win 0
        +4 > . 1:2(1) ack 1
    """)


def test_must_37_for_as_long_as_that_is_answered() -> None:
    probes = "".join(
        f"+{wait} > . 1:2(1) ack 1\n+0 < . 1:1(0) ack 1 win 0\n" for wait in (1, 2, 4, 8, 16, 32, *[60] * 50)
    )
    play_opened("+0 < . 1:1(0) ack 1 win 0\n+0 write(4, ..., 10) = 10\n" + probes + "+0 state(ESTABLISHED)\n")


def test_must_66_at_our_own_window_without_room_acks_and_rsts_count() -> None:
    full = """
        +0 < . 1:501(500) ack 1 win 64240
        +0 > . 1:1(0) ack 501 win 500
        +0 < . 501:1001(500) ack 1 win 64240
        +0 > . 1:1(0) ack 1001 win 0
        +0 write(4, ..., 5) = 5
        +0 > P. 1:6(5) ack 1001
    """
    opened = "+0 < S 0:0(0) win 9999 <mss 500>\n+0 > S. 0:0(0) ack 1 win 500 <mss 1460>\n+0 < . 1:1(0) ack 1 win 9999\n"
    play(opened + full + "+0 < . 1001:1001(0) ack 6 win 9999\n+9 state(ESTABLISHED)\n", window=500, ack="each")
    play(opened + full + "+0 < R 1001:1001(0) win 0\n+0 state(CLOSED)\n", window=500, ack="each")


def test_shld_14_the_windows_right_edge_never_moves_back() -> None:
    tcp = Tcp.answering(Stack(window=5000, ack="each"), Segment(0, 0, SYN, 64_240, mss=1000), 0, 0.0)
    tcp.grant(0.0)
    tcp.on_segment(Segment(1, 1, ACK, 64_240), 0.0)
    tcp.take_output()
    edges, buffer, at = [], memoryview(bytearray(700)), 1
    for number in range(60):
        if number % 3:
            tcp.on_segment(Segment(at, 1, ACK, 64_240, bytes(900)), 0.0)
        else:
            tcp.read_into(buffer)
        if number == 30:
            tcp.limit_window(3000)
        for segment in tcp.take_output():
            at = segment.ack
            edges.append(segment.ack + segment.window)
    assert edges == sorted(edges)
    assert max(edges) > 10_000


def test_must_38_a_sender_does_not_fill_a_silly_window() -> None:
    play_opened("""
        +0 < . 1:1(0) ack 1 win 700
        +0 write(4, ..., 5000) = 5000
        +.5 < . 1:1(0) ack 1 win 1460
        +0 > . 1:1461(1460) ack 1
    """)


def test_must_38_but_after_a_while_it_does() -> None:
    play_opened("+0 < . 1:1(0) ack 1 win 700\n+0 write(4, ..., 5000) = 5000\n+1 > . 1:701(700) ack 1\n")


def test_must_17_shld_7_nagles_algorithm_is_a_setting() -> None:
    both = "+0 write(4, ..., 5) = 5\n+0 > P. 1:6(5) ack 1\n+0 write(4, ..., 5) = 5\n"
    play_opened(both + "+.5 < . 1:1(0) ack 6 win 64240\n+0 > P. 6:11(5) ack 1\n", nagle=True)
    play_opened(both + "+0 > P. 6:11(5) ack 1\n", nagle=False)


def test_must_39_a_receiver_opens_its_window_by_a_segment_or_half() -> None:
    play(
        """
        +0 < S 0:0(0) win 64240 <mss 100>
        +0 > S. 0:0(0) ack 1 win 1000 <mss 1460>
        +0 < . 1:1(0) ack 1 win 64240
        +0 < . 1:1001(1000) ack 1 win 64240
        +0 > . 1:1(0) ack 1001 win 1000
        +0 < . 1001:2001(1000) ack 1 win 64240
        +0 > . 1:1(0) ack 2001 win 0
        +0 read(4, ..., 99) = 99
        +0 < . 2000:2000(0) ack 1 win 64240
        +0 > . 1:1(0) ack 2001 win 0
        +0 read(4, ..., 1) = 1
        +0 < . 2000:2000(0) ack 1 win 64240
        +0 > . 1:1(0) ack 2001 win 100
        +0 read(4, ..., 500) = 500
        +0 > . 1:1(0) ack 2001 win 600
    """,
        window=1000,
        ack="each",
    )


def test_must_40_shld_18_an_ack_is_delayed_by_less_than_half_a_second() -> None:
    play_opened("+0 < P. 1:6(5) ack 1 win 64240\n+.04 > . 1:1(0) ack 6\n")
    play_opened("+0 < P. 1:6(5) ack 1 win 64240\n+.4 > . 1:1(0) ack 6\n", delayed_ack_s=0.4)


def test_shld_19_every_second_segment_is_acknowledged_at_once() -> None:
    play_opened("+0 < . 1:6(5) ack 1 win 9\n+0 < . 6:11(5) ack 1 win 9\n+0 > . 1:1(0) ack 11\n")


def test_must_58_59_segments_that_arrived_together_share_an_acknowledgement() -> None:
    tcp = Tcp.answering(Stack(), Segment(0, 0, SYN, 64_240, mss=1460), 0, 0.0)
    tcp.grant(0.0)
    tcp.on_segment(Segment(1, 1, ACK, 64_240), 0.0)
    tcp.take_output()
    for at in range(1, 14_601, 1460):
        tcp.on_segment(Segment(at, 1, ACK, 64_240, bytes(1460)), 0.0)
    assert [segment.ack for segment in tcp.take_output()] == [14_601]


def test_must_58_the_settings_of_vmnat_acknowledge_each() -> None:
    play_opened(
        "+0 < . 1:6(5) ack 1 win 9\n+0 > . 1:1(0) ack 6\n+0 < . 6:11(5) ack 1 win 9\n+0 > . 1:1(0) ack 11\n", ack="each"
    )


def test_must_60_61_shld_27_28_push_is_on_the_last_of_what_there_is() -> None:
    play_opened("""
        +0 write(4, ..., 1500) = 1500
        +0 > . 1:1461(1460) ack 1
        +0 > P. 1461:1501(40) ack 1
    """)
