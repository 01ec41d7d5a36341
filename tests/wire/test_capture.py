"""A capture of a guest's link: packets and what the event log says of them, in the order of their times."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from relay.address import Endpoint
from relay.clock import NatClock
from relay.log import EventLog, Hold
from relay.log.rebuilt_ip import ICMP, TCP, UDP, datagram
from relay.log.rebuilt_tcp import ACK, FIN, PSH, RST, SYN, RebuiltTcp
from relay.wire.capture import HOLD_S, WireCapture
from relay.wire.mappings import End
from relay.wire.packet import build_icmp, undotted
from support.pcapng import Captured, packets

GIT = (4711, "git")
GUEST, SERVER = Endpoint("192.168.127.128", 40_000), Endpoint("192.0.2.7", 22)


class Clockwork:
    """An engine that has nothing but timers, and a clock that is set by hand."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self._due: list[tuple[float, Callable[[], None]]] = []

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> Any:
        self._due.append((self.now_s + delay_s, callback))

    def advance(self, seconds: float) -> None:
        until_s = self.now_s + seconds
        while self._due and self._due[0][0] <= until_s:
            self.now_s, callback = self._due.pop(0)
            callback()
        self.now_s = until_s


class Play:
    """A link that is captured, and the log of the relay behind it."""

    def __init__(self) -> None:
        self.clockwork = Clockwork()
        self.log = EventLog(NatClock(lambda: self.clockwork.now_s))
        self.data = bytearray()
        self.capture = WireCapture(self.log, self._write, (1, "relay"))
        self.capture.begin(self.clockwork)  # type: ignore[arg-type]
        self.tcp = RebuiltTcp(GUEST, SERVER)

    def _write(self, data: bytes) -> bool:
        self.data += data
        return True

    def packet(self, outward: bool, flags: int, payload: bytes = b"", *, tos: int = 0) -> None:
        parts, _ = self.tcp.segment(outward, flags, payload, tos=tos)
        self.capture.on_packet(b"".join(parts), outward)

    def tell(self, event: str, hold: Hold | None = None, **fields: Any) -> None:
        process = None if hold is not None else GIT
        self.log.hand_on(self.log.record(event, flow=1, process=process, **fields), hold)

    def open(self, hold: Hold | None = None) -> None:
        self.tell("flow-opened", hold, via="wire", client=str(GUEST), destination=str(SERVER))

    def connect(self, hold: Hold | None = None) -> None:
        self.tell("flow-connected", hold, address=str(SERVER), local="10.0.0.5:50000", dial_s=0.0)

    @property
    def packets(self) -> list[Captured]:
        return packets(bytes(self.data))


@pytest.fixture
def play() -> Play:
    return Play()


def test_packets_wait_until_their_flow_s_process_is_known(play: Play) -> None:
    hold = Hold()
    play.packet(True, SYN)
    play.open(hold)
    play.clockwork.advance(0.2)
    assert play.packets == []
    play.log.release(hold, GIT)
    play.clockwork.advance(HOLD_S)
    assert [(str(packet), packet.comment) for packet in play.packets] == [("guest > S", "git[4711]")]


def test_they_wait_no_longer_where_nothing_is_known(play: Play) -> None:
    play.packet(True, SYN)
    play.clockwork.advance(2 * HOLD_S)
    assert [(str(packet), packet.comment) for packet in play.packets] == [("guest > S", "")]


def test_what_waits_while_the_file_begins_anew_comes_into_the_new_one(play: Play) -> None:
    play.open()
    play.packet(True, SYN)
    play.data = bytearray(play.capture.begin_anew())
    play.packet(False, SYN)
    play.clockwork.advance(2 * HOLD_S)
    assert [(str(packet), packet.comment) for packet in play.packets] == [
        ("guest > S", "git[4711]"),
        ("guest < SA", "git[4711]"),
    ]


def test_both_sides_are_in_the_order_of_their_times(play: Play) -> None:
    hold = Hold()
    play.packet(True, SYN)
    play.open(hold)
    play.clockwork.advance(0.01)
    play.connect(hold)
    play.packet(False, SYN)
    play.clockwork.advance(0.01)
    play.packet(True, ACK)
    play.log.release(hold, GIT)
    play.capture.close()
    assert [str(packet) for packet in play.packets] == [
        "guest > S",
        "guest < SA",
        "host > S",
        "host < SA",
        "host > A",
        "guest > A",
    ]
    times_ns = [packet.at_ns for packet in play.packets]
    assert times_ns == sorted(times_ns)
    assert all("git[4711]" in packet.comment for packet in play.packets)


def test_a_behaviour_s_packet_names_it_and_so_does_what_made_it_act(play: Play) -> None:
    hold = Hold()
    play.open(hold)
    play.packet(True, PSH, b"plain")
    play.packet(True, PSH, b"marked", tos=0x48)
    play.tell("tos-changed", hold, side="internal", syn=0, old=0, new=0x48, syn_precedence=0, new_precedence=2)
    play.tell("rst-sent", hold, side="internal", because="tos-reset")
    play.packet(False, RST)
    play.packet(False, PSH, b"again")
    play.log.release(hold, GIT)
    play.capture.close()
    assert [(str(packet), packet.comment) for packet in play.packets] == [
        ("guest > P 5", "git[4711]"),
        ("guest > P 6 tos 0x48", "git[4711], TOS 0x00 -> 0x48"),
        ("guest < RA", "git[4711], tos-reset"),
        ("guest < PA 5", "git[4711]"),
    ]


def test_a_fin_is_a_behaviour_s_as_well_and_only_that_packet(play: Play) -> None:
    play.open()
    play.tell("fin-sent", side="internal", because="close-mapping")
    play.packet(False, FIN)
    play.packet(True, ACK)
    play.clockwork.advance(1)
    play.packet(False, FIN)
    play.tell("fin-sent", side="external", because="close-mapping")
    play.capture.close()
    assert [packet.comment for packet in play.packets] == ["git[4711], close-mapping", "git[4711]", "git[4711]"]


def test_packets_behind_the_end_of_a_flow_are_still_its_own(play: Play) -> None:
    play.open()
    ending = dict.fromkeys(("destination", "internal", "internal_because", "external", "external_because"))
    play.tell("flow-ended", because="peer", bytes_out=0, bytes_in=0, bytes_lost=0, duration_s=0.1, **ending)
    play.packet(True, ACK)
    play.capture.close()
    assert [packet.comment for packet in play.packets] == ["git[4711]"]


def test_an_inbound_flow_s_guest_is_what_was_dialled(play: Play) -> None:
    play.tell("flow-opened", via="inbound", client="198.51.100.1:1234", destination="192.168.127.128:40000")
    play.tell("flow-connected", address="192.168.127.128:40000", local="192.168.127.2:50000", dial_s=0.0)
    play.packet(True, SYN)
    play.capture.close()
    assert [packet.comment for packet in play.packets if packet.interface == 0] == ["git[4711]"]


def echo(kind: int, source: Endpoint, destination: Endpoint, ident: int) -> bytes:
    message = build_icmp(kind, 0, ident, 1, b"data") + b"data"
    return b"".join(datagram(ICMP, source, destination, message))


def test_datagrams_of_both_sides_are_the_process_s_that_has_the_guest_s_end(play: Play) -> None:
    end, near = End(undotted(GUEST.host), GUEST.port), Endpoint("10.0.0.5", 50_000)
    play.capture.on_packet(b"".join(datagram(UDP, GUEST, SERVER, b"question")), True)
    play.capture.own(UDP, end, GIT)
    play.capture.on_datagram(UDP, end, near, SERVER, b"question", True)
    play.clockwork.advance(0.01)
    play.capture.on_datagram(UDP, end, near, SERVER, b"answer", False)
    play.capture.on_packet(b"".join(datagram(UDP, SERVER, GUEST, b"answer")), False)
    play.capture.on_packet(b"".join(datagram(UDP, Endpoint(GUEST.host, 7), SERVER, b"another's")), True)
    play.capture.close()
    assert [(packet.interface, packet.data[28:], packet.comment) for packet in play.packets] == [
        (0, b"question", "git[4711]"),
        (1, b"question", "git[4711]"),
        (1, b"answer", "git[4711]"),
        (0, b"answer", "git[4711]"),
        (0, b"another's", ""),
    ]


def test_echoes_are_the_process_s_that_has_their_identifier(play: Play) -> None:
    play.capture.own(ICMP, End(undotted(GUEST.host), 77), (9, "ping"))
    for kind, source, destination in ((8, GUEST, SERVER), (0, SERVER, GUEST)):
        play.capture.on_packet(echo(kind, source, destination, 77), kind == 8)
    play.capture.on_packet(echo(8, GUEST, SERVER, 78), True)
    play.capture.on_packet(echo(3, SERVER, GUEST, 77), False)  # no echo, whatever these bytes are
    play.capture.close()
    assert [packet.comment for packet in play.packets] == ["ping[9]", "ping[9]", "", ""]


def test_a_connection_of_the_host_s_own_is_shown_with_its_bytes(play: Play) -> None:
    end = End(undotted(GUEST.host), GUEST.port)
    play.capture.own(TCP, end, (5, "dig"))
    stream = play.capture.open_stream(end, Endpoint("10.0.0.5", 50_000), SERVER)
    stream.carry(b"question", True)
    stream.carry(memoryview(b"a" * 2000), False)
    stream.finish(False)
    stream.finish(True)
    play.capture.close()
    assert [str(packet) for packet in play.packets] == [
        "host > S",
        "host < SA",
        "host > A",
        "host > PA 8",
        "host < PA 1460",
        "host < PA 540",
        "host < FA",
        "host > FA",
    ]
    assert {packet.comment for packet in play.packets} == {"dig[5]"}


def test_owners_of_ends_are_forgotten_in_time(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relay.wire.captured_sockets._MOST_ENDS", 3)
    for number in range(10):
        play.capture.own(UDP, End(1, number), GIT)
    assert len(play.capture._sockets._owners) == 3


def test_what_is_not_tcp_or_not_whole_is_captured_without_a_name(play: Play) -> None:
    play.open()
    for packet in (b"", b"x" * 40, bytes.fromhex("4500001c000000004011000000000000000000000000000000000000")):
        play.capture.on_packet(packet, True)
    play.capture.close()
    assert [packet.comment for packet in play.packets] == ["", "", ""]


def test_where_too_much_waits_the_first_do_so_no_longer(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relay.wire.capture._MOST_BYTES", 1000)
    for _ in range(30):
        play.packet(True, PSH, b"x" * 60)
    assert len(play.packets) == 20
    assert play.capture._waiting_bytes == 1000


def test_flows_and_ends_are_forgotten_in_time(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relay.wire.capture._MOST_ENDS", 3)
    for number in range(10):
        client = f"192.168.127.128:{number + 1}"
        play.tell("flow-opened", via="wire", client=client, destination=str(SERVER))
    for client in ("[2001:db8::1]:1", "a client that is gone"):
        play.tell("flow-opened", via="wire", client=client, destination=str(SERVER))
    assert len(play.capture._by_guest) == 3
