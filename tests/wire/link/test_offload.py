"""Checksums and segmentation that are left to the kernel, against the kernel."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import anyio
import pytest

from relay.wire.addresses import addresses_in
from relay.wire.link import offload
from relay.wire.namespace.opening import KINDS, open_namespace
from relay.wire.packet import UDP, build_udp, is_sound, parse_ipv4, parse_udp, pseudo_sum
from support.capabilities import need_root
from support.wire_peer import ACK, FIN, PSH, answer, next_datagram, receive_exactly

ADDRESSES = addresses_in("192.168.27.0/24")
SIZE = 60_000
SAY_AND_HEAR = f"""
import hashlib, socket
sock = socket.create_connection(("192.0.2.1", 7), timeout=60)
sock.sendall(bytes(range(250)) * {SIZE // 250})
heard = b""
while data := sock.recv(1 << 20):
    heard += data
print(len(heard), hashlib.sha256(heard).hexdigest())
"""
SAY_BY_UDP = """
import socket
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.sendto(b"said by UDP", ("192.0.2.1", 7))
"""


def test_a_plain_segment_is_described_without_its_cut() -> None:
    assert offload.for_segment(0, 40, 0) == bytes.fromhex("01002800000014001000")
    assert offload.for_segment(14, 54, 1460) == bytes.fromhex("01013600b40522001000")


def test_what_is_complete_is_to_be_checked() -> None:
    datagram = memoryview(bytearray(b"any"))
    assert not offload.take_in(offload.PLAIN, datagram)
    assert offload.take_in(b"\x02" + bytes(9), datagram), "a valid checksum is one that the kernel has checked"
    assert bytes(datagram) == b"any"


@pytest.mark.parametrize("payload", [b"data", b""])
def test_a_partial_checksum_of_udp_is_completed(payload: bytes) -> None:
    complete = build_udp(1, 2, 53, 53, payload)
    partial = complete[:6] + pseudo_sum(1, 2, UDP, 8 + len(payload)).to_bytes(2)
    datagram = memoryview(bytearray(bytes(20) + partial + payload))
    assert offload.take_in(offload._HEADER.pack(1, 0, 0, 0, 20, 6), datagram)
    assert bytes(datagram[20:28]) == complete


def test_a_sum_outside_the_datagram_is_left_alone() -> None:
    datagram = memoryview(bytearray(25))
    assert offload.take_in(offload._HEADER.pack(1, 0, 0, 0, 20, 6), datagram)
    assert bytes(datagram) == bytes(25)


@pytest.mark.system
@pytest.mark.anyio
@pytest.mark.parametrize("offloaded", [True, False])
@pytest.mark.parametrize("kind", KINDS)
async def test_super_segments_pass_both_ways_intact(tmp_path: Path, offloaded: bool, kind: str) -> None:
    need_root()
    found, script = tmp_path / "said", tmp_path / "script.py"
    script.write_text(SAY_AND_HEAR)
    command = ("sh", "-c", f"{sys.executable} {script} > {found}")
    with anyio.fail_after(30):
        namespace = await open_namespace(command, ADDRESSES, offload=offloaded, kinds=[kind])
        link = namespace.link
        assert link.offload is offloaded
        namespace.start()
        peer = await answer(link)
        data, largest = await receive_exactly(peer, link, SIZE)
        assert data == bytes(range(250)) * (SIZE // 250)
        assert link.vouched is offloaded
        assert (largest > 1460) is offloaded
        for at in range(0, SIZE, 30_000 if offloaded else 1460):
            piece = data[at : at + (30_000 if offloaded else 1460)]
            assert peer.send(PSH | ACK, piece, segment_bytes=1460 if offloaded else None)
        assert peer.send(FIN | ACK, segment_bytes=0 if offloaded else None)
        assert await namespace.wait() == 0
        namespace.close()

    assert found.read_text() == f"{SIZE} {hashlib.sha256(data).hexdigest()}\n"


@pytest.mark.system
@pytest.mark.anyio
@pytest.mark.parametrize("kind", KINDS)
async def test_a_datagram_from_the_kernel_is_sound(kind: str) -> None:
    need_root()
    with anyio.fail_after(30):
        namespace = await open_namespace((sys.executable, "-c", SAY_BY_UDP), ADDRESSES, offload=True, kinds=[kind])
        namespace.start()
        ip = parse_ipv4(await next_datagram(namespace.link))
        assert ip is not None
        udp = parse_udp(ip)
        assert is_sound(ip)
        assert udp is not None
        assert bytes(udp.payload) == b"said by UDP"
        namespace.close()
