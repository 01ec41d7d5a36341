"""A pcapng file as text, one line a packet, for tests that are about the packets and not about the file.

    guest > S  git[4711], asks for 192.0.2.7:22 via forward
    guest < PA 1460 of 5000 tos 0x48

`>` is from the app to the server, on either interface.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

_IPV4 = 4
_FLAGS = "SFRPA"
_BITS = {"F": 1, "S": 2, "R": 4, "P": 8, "A": 16}


@dataclass(frozen=True)
class Captured:
    """One packet."""

    interface: int
    at_ns: int
    outward: bool
    data: bytes
    length: int
    """Of the packet, of which the end may be missing in `data`."""
    comment: str

    @property
    def is_ipv4(self) -> bool:
        return self.data[0] >> 4 == _IPV4

    @property
    def tcp(self) -> bytes:
        """Its TCP segment."""
        return self.data[20 if self.is_ipv4 else 40 :]

    @property
    def seq(self) -> int:
        return int.from_bytes(self.tcp[4:8])

    @property
    def ack(self) -> int:
        return int.from_bytes(self.tcp[8:12])

    def __str__(self) -> str:
        flags = self.tcp[13]
        words = ["host" if self.interface else "guest", ">" if self.outward else "<"]
        words.append("".join(letter for letter in _FLAGS if flags & _BITS[letter]))
        if (data_bytes := self.length - len(self.data) + len(self.tcp) - 20) > 0:
            words.append(str(data_bytes))
        tos = self.data[1] if self.is_ipv4 else struct.unpack_from(">I", self.data)[0] >> 20 & 0xFF
        if tos:
            words.append(f"tos 0x{tos:02x}")
        return " ".join(words)


def blocks(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Each block's type and body."""
    at = 0
    while at < len(data):
        kind, length = struct.unpack_from("<II", data, at)
        assert length % 4 == 0
        assert struct.unpack_from("<I", data, at + length - 4) == (length,)
        yield kind, data[at + 8 : at + length - 4]
        at += length


def options(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Each option's code and value, without the end."""
    at = 0
    while True:
        code, length = struct.unpack_from("<HH", data, at)
        if code == 0:
            assert (length, at + 4) == (0, len(data))
            return
        yield code, data[at + 4 : at + 4 + length]
        at += 4 + length + -length % 4


def packets(data: bytes) -> list[Captured]:
    """The packets of a whole file."""
    found = []
    for kind, body in blocks(data):
        if kind == 6:
            interface, high, low, captured, length = struct.unpack_from("<IIIII", body)
            known = dict(options(body[20 + captured + -captured % 4 :]))
            inbound = struct.unpack("<I", known[2])[0] == 1
            found.append(
                Captured(
                    interface=interface,
                    at_ns=high << 32 | low,
                    outward=inbound == (interface == 0),
                    data=body[20 : 20 + captured],
                    length=length,
                    comment=known.get(1, b"").decode(),
                )
            )
    return found
