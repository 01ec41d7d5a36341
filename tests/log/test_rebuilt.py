"""The event log as packets: what each record of a flow shows, in which order, and with which words."""

from __future__ import annotations

from typing import Any

import pytest

from relay.clock import NatClock
from relay.log import EventLog
from relay.log.rebuilt import LogCapture
from support.pcapng import Captured, packets

GIT = (4711, "git")


class Play:
    """A log and the capture that is made of it; each record is made 0.1 s after the one before."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.log = EventLog(NatClock(lambda: self.now_s))
        self.data = bytearray()
        self.capture = LogCapture(self.log, self._write, (1, "relay"))

    def _write(self, data: bytes) -> bool:
        self.data += data
        return True

    def tell(self, event: str, *, flow: int = 1, carried: tuple[int, int] = (0, 0), **fields: Any) -> None:
        self.now_s += 0.1
        self.log.hand_on(self.log.record(event, flow=flow, process=GIT, carried=carried, **fields))

    def open(self, *, via: str = "socks5", destination: str = "192.0.2.7:22") -> None:
        self.tell("flow-opened", via=via, client="127.0.0.1:40000", destination=destination)

    def connect(self) -> None:
        self.tell("flow-connected", address="192.0.2.7:22", local="10.0.0.5:50000", dial_s=0.05)

    @property
    def packets(self) -> list[Captured]:
        return packets(bytes(self.data))

    @property
    def lines(self) -> list[str]:
        return [str(packet) for packet in self.packets]


@pytest.fixture
def play() -> Play:
    return Play()


BEGINNING = ["guest > S", "host > S", "host < SA", "host > A", "guest < SA", "guest > A"]


def test_the_server_is_dialled_before_the_app_is_answered(play: Play) -> None:
    play.open()
    play.connect()
    assert play.lines == BEGINNING
    times_s = [packet.at_ns / 1e9 - play.log.started_at for packet in play.packets]
    assert times_s == pytest.approx([0.1, 0.15, 0.2, 0.2, 0.2, 0.2], abs=1e-6)
    assert [packet.comment for packet in play.packets] == [
        "git[4711], asks for 192.0.2.7:22 via socks5",
        *["git[4711]"] * 3,
        "git[4711], the other side was connected in 50.0 ms",
        "git[4711]",
    ]


def test_a_flow_that_comes_from_outside_begins_there(play: Play) -> None:
    play.open(via="inbound")
    play.connect()
    assert play.lines == ["host < S", "guest < S", "guest > SA", "guest < A", "host > SA", "host < A"]


def test_a_reset_by_a_behaviour_names_it(play: Play) -> None:
    play.open()
    play.connect()
    tos: dict[str, Any] = {
        "side": "internal",
        "syn": 0,
        "old": 0,
        "new": 0x48,
        "syn_precedence": 0,
        "new_precedence": 2,
    }
    play.tell("tos-changed", carried=(2642, 2137), **tos)
    play.tell("rst-sent", carried=(2642, 2137), side="internal", because="tos-reset")
    play.tell("fin-sent", carried=(2642, 2137), side="external", because="tos-reset")
    assert play.lines[6:] == [
        "guest > PA 1460",
        "host > PA 1460",
        "host < PA 1460",
        "guest < PA 1460",
        "guest > PA tos 0x48",
        "guest < RA",
        "host > FA",
    ]
    reset, fin = play.packets[-2:]
    assert (reset.comment, reset.seq, reset.ack) == ("git[4711], tos-reset", 2138, 2643)
    assert (fin.comment, fin.seq, fin.ack) == ("git[4711], tos-reset", 2643, 2138)


def test_a_flow_that_ends_in_order_has_a_fin_each_way(play: Play) -> None:
    play.open()
    play.connect()
    for side, other in (("internal", "external"), ("external", "internal")):
        play.tell("fin-received", side=side)
        play.tell("fin-sent", side=other, because="close-mapping")
    assert play.lines[6:] == ["guest > FA", "host > FA", "host < FA", "guest < FA"]


def test_a_probe_begins_before_what_was_acknowledged(play: Play) -> None:
    play.open()
    play.connect()
    play.tell("keepalive-probe", carried=(10, 0), side="internal")
    assert play.lines[-1] == "guest > A"
    assert (play.packets[-1].seq, play.packets[-1].comment) == (10, "git[4711], keepalive probe")


def test_a_probe_of_the_relays_and_its_answer_are_shown(play: Play) -> None:
    play.open()
    play.connect()
    play.tell("probe-sent", side="external", because="local-keepalive")
    play.tell("probe-answered", side="external")
    assert play.lines[6:] == ["host > A", "host < A"]
    assert [packet.comment for packet in play.packets[6:]] == [
        "git[4711], local-keepalive",
        "git[4711], the answer to the probe",
    ]
    assert play.packets[-2].seq == play.packets[-1].ack - 1


def test_after_a_reset_nothing_more_is_shown_of_that_side(play: Play) -> None:
    play.open()
    play.connect()
    play.tell("rst-received", carried=(0, 0), side="external", unacked_bytes=0)
    play.tell("rst-sent", carried=(0, 5), side="internal", because="peer")
    assert play.lines[6:] == ["host < RA", "guest < PA 5", "guest < RA"]


def test_what_was_refused_is_a_reset_with_the_reason(play: Play) -> None:
    play.open()
    play.tell("dial-failed", failure="refused", detail="192.0.2.7:22: ECONNREFUSED")
    assert play.lines == ["guest > S", "guest < RA"]
    assert play.packets[-1].comment == "git[4711], not connected: refused (192.0.2.7:22: ECONNREFUSED)"


def test_the_syn_to_a_name_waits_for_its_address_and_keeps_its_time(play: Play) -> None:
    play.open(destination="server.test:22")
    assert play.lines == []
    play.connect()
    assert play.lines == BEGINNING
    first = play.packets[0]
    assert first.at_ns / 1e9 - play.log.started_at == pytest.approx(0.1, abs=1e-6)
    assert first.data[16:20] == bytes([192, 0, 2, 7])
    assert b"server.test\0" in play.data


def test_without_an_address_a_name_is_nowhere(play: Play) -> None:
    play.open(destination="no.test:22")
    play.tell("dial-failed", failure="name not resolved", detail="no.test")
    assert [str(packet) for packet in play.packets] == ["guest > S", "guest < RA"]
    assert play.packets[0].data[16:20] == bytes(4)


@pytest.mark.parametrize(("name", "answer"), [("server.test", "192.0.2.7"), ("192.0.2.7", "server.test")])
def test_a_name_that_was_only_asked_for_is_kept(play: Play, name: str, answer: str) -> None:
    play.tell("name-resolved", client="127.0.0.1:1", name=name, answer=answer, failure=None)
    assert bytes([192, 0, 2, 7]) + b"server.test\0" in play.data
    play.tell("name-resolved", client="127.0.0.1:1", name="no.test", answer=None, failure="name not resolved")
    assert b"no.test" not in play.data


def test_flows_are_apart_and_forgotten_at_their_end(play: Play) -> None:
    ending: dict[str, Any] = dict.fromkeys(
        ("destination", "internal", "internal_because", "external", "external_because"), None
    )
    play.open()
    play.tell("fin-received", flow=2, side="internal")
    play.tell("flow-ended", because="peer", bytes_out=0, bytes_in=0, bytes_lost=0, duration_s=0.1, **ending)
    play.tell("fin-received", side="internal")
    assert play.lines == ["guest > S"]


def test_datagrams_are_no_segments(play: Play) -> None:
    play.open(via="socks5-udp")
    play.tell("mapping-opened", local="0.0.0.0:50000")
    play.tell("flow-ended", carried=(10, 20), **_ended())
    assert play.lines == []


def test_a_connection_that_a_client_waited_for_begins_at_the_server(play: Play) -> None:
    play.open(via="socks5-bind")
    assert play.lines == ["host < S"]


def _ended() -> dict[str, Any]:
    sides = {f"{side}{of}": "silence" for side in ("internal", "external") for of in ("", "_because")}
    counts = dict.fromkeys(("bytes_out", "bytes_in", "bytes_lost", "duration_s"), 0)
    return {"destination": "192.0.2.7:22", "because": "udp-timeout", "granted_after_s": None, **sides, **counts}
