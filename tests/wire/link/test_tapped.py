"""A tapped link: the same link, and the tap is shown what a capture on the wire would."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from relay.address import Endpoint
from relay.log.rebuilt_tcp import PSH, RebuiltTcp
from relay.wire.link.tapped import TappedLink
from relay.wire.packet import TCP, Buffer, is_sound, parse_ipv4, partial_checksum


class Shown:
    """A tap that keeps what it is shown."""

    def __init__(self) -> None:
        self.packets: list[tuple[bytes, bool]] = []
        self.begun: list[object] = []

    def begin(self, engine: object) -> None:
        self.begun.append(engine)

    def on_packet(self, packet: bytes, outward: bool) -> None:
        self.packets.append((packet, outward))

    def name(self, address: str, name: str) -> None:
        raise AssertionError("a link knows no names")


class Kept:
    """A link that keeps what it is given, and gives what it is to; and the same with a tap."""

    name, mtu, ethernet, offload, dropped = "kept", 1500, False, True, 3

    def __init__(self, *, vouched: bool = False, sends: bool = True) -> None:
        self.vouched = vouched
        self.sends = sends
        self.to_come: list[bytes] = []
        self.sent: list[tuple[bytes, int | None]] = []
        self.begun: list[object] = []
        self.closed = False
        self.tap = Shown()
        self.link = TappedLink(self, self.tap)

    @property
    def shown(self) -> list[tuple[bytes, bool]]:
        return self.tap.packets

    def watch(self, engine: object, on_readable: object) -> None:
        self.begun.append(engine)

    def receive(self) -> memoryview | None:
        return memoryview(self.to_come.pop(0)) if self.to_come else None

    def send(self, parts: Sequence[Buffer], segment_bytes: int | None = None) -> bool:
        self.sent.append((b"".join(parts), segment_bytes))
        return self.sends

    def close(self) -> None:
        self.closed = True


def segment(*, partial: bool = False) -> bytes:
    tcp = RebuiltTcp(Endpoint("192.168.127.128", 40_000), Endpoint("192.0.2.7", 22))
    whole = bytearray(b"".join(tcp.segment(True, PSH, b"hello")[0]))
    if partial:
        ip = parse_ipv4(memoryview(bytes(whole)))
        assert ip is not None
        whole[36:38] = partial_checksum(ip.source, ip.destination, TCP, len(ip.payload)).to_bytes(2)
    return bytes(whole)


def test_what_passes_is_shown_and_passes() -> None:
    kept = Kept()
    kept.to_come = [segment(), b"other"]
    assert [bytes(packet) for packet in (kept.link.receive(), kept.link.receive()) if packet] == [segment(), b"other"]
    assert kept.link.receive() is None
    assert kept.link.send((b"an", b"swer"))
    assert kept.sent == [(b"answer", None)]
    assert kept.shown == [(segment(), True), (b"other", True), (b"answer", False)]


def test_what_is_lost_is_not_shown() -> None:
    kept = Kept(sends=False)
    assert not kept.link.send((b"lost",))
    assert kept.shown == []


def test_a_partial_checksum_is_shown_complete_and_passes_as_it_is() -> None:
    kept = Kept(vouched=True)
    partial = segment(partial=True)
    kept.to_come = [partial, segment()]
    kept.link.receive()
    kept.link.receive()
    kept.link.send((partial[:20], partial[20:]), 1460)
    assert kept.sent == [(partial, 1460)]
    assert kept.shown == [(segment(), outward) for outward in (True, True, False)]
    ip = parse_ipv4(memoryview(kept.shown[0][0]))
    assert ip is not None
    assert is_sound(ip)


def test_a_wrong_checksum_that_is_not_vouched_for_is_shown_wrong() -> None:
    kept = Kept()
    kept.to_come = [segment(partial=True)]
    kept.link.receive()
    assert kept.shown == [(segment(partial=True), True)]


@pytest.mark.parametrize(
    "packet", [b"", b"x" * 30, segment()[:30], bytes.fromhex("4500001c00000000401166d00000000000000000") + bytes(8)]
)
def test_what_is_no_whole_segment_is_shown_as_it_is(packet: bytes) -> None:
    kept = Kept(vouched=True)
    kept.to_come = [packet]
    kept.link.receive()
    assert kept.shown == [(packet, True)]


def test_the_rest_is_the_link_s_own() -> None:
    kept = Kept()
    link = kept.link
    assert (link.name, link.mtu, link.ethernet, link.offload, link.vouched) == ("kept", 1500, False, True, False)
    assert link.dropped == 3
    engine = object()
    link.watch(engine, lambda: None)  # type: ignore[arg-type]
    assert kept.begun == kept.tap.begun == [engine]
    link.close()
    assert kept.closed
