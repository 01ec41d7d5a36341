"""What DHCP clients say (RFC 2131)."""

from __future__ import annotations

import struct

COOKIE = bytes.fromhex("63825363")


def mac(number: int) -> bytes:
    return bytes.fromhex("000c29") + number.to_bytes(3)


def message(
    kind: int, guest: int = 1, *, address: int = 0, flags: int = 0, relay: int = 0, **options: int | bytes
) -> bytes:
    """A message as clients send it; options are named o50 and so on."""
    fixed = struct.pack(
        ">BBBBIHHIIII16s64s128s", 1, 1, 6, 0, 0x1234 + guest, 3, flags, address, 0, 0, relay, mac(guest), b"", b""
    )
    encoded = bytes((53, 1, kind))
    for name, value in options.items():
        data = value if isinstance(value, bytes) else value.to_bytes(4)
        encoded += bytes((int(name[1:]), len(data))) + data
    return fixed + COOKIE + encoded + b"\xff"
