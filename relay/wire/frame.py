"""Ethernet II frames (RFC 894): six bytes to whom, six from whom, two of what is inside."""

from __future__ import annotations

from typing import NamedTuple

HEADER_BYTES = 14
BROADCAST = b"\xff" * 6
IPV4, ARP, IPV6 = 0x0800, 0x0806, 0x86DD
_LEAST_KIND = 0x0600  # below that it is a length, as in IEEE 802.3


class Frame(NamedTuple):
    """A frame. Short ones have padding behind what they carry."""

    destination: bytes
    source: bytes
    kind: int
    payload: memoryview


def parse_frame(frame: memoryview) -> Frame | None:
    """Read a frame; None if it is too short, is of another format, or claims to be from a group of stations."""
    if len(frame) < HEADER_BYTES or frame[6] & 1:
        return None
    kind = int.from_bytes(frame[12:14])
    if kind < _LEAST_KIND:
        return None
    return Frame(bytes(frame[:6]), bytes(frame[6:12]), kind, frame[HEADER_BYTES:])


def build_frame(destination: bytes, source: bytes, kind: int) -> bytes:
    """Return the header of a frame."""
    return destination + source + kind.to_bytes(2)


def is_group(mac: bytes) -> bool:
    """Whether a frame to this address is for several stations, or all."""
    return bool(mac[0] & 1)
