"""pcapng, the file format of packet captures (draft-ietf-opsawg-pcapng), as far as a relay writes it.

    SHB    the section: its byte order, and what wrote it
    IDB    an interface, one for each side of the relay
    DPEB   a process, as macOS' `tcpdump -k` writes it; packets refer to the first one by 0
    NRB    a name of an address
    EPB    a packet: when, on which interface, which way; a comment, its process, how many before it were lost
    ISB    how many were lost in all

Each function returns one whole block. Of a process there is the name alone: a reader of 2025 gives up on a block that
also has the path. Text is UTF-8; what an option has no room for is cut off.
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Iterable, Sequence
from typing import TypeAlias

Buffer: TypeAlias = bytes | bytearray | memoryview

ETHERNET, RAW_IP = 1, 101
"""Link types: each packet is a frame, or begins with its IPv4 or IPv6 header."""
INBOUND, OUTBOUND = 1, 2
"""Directions, as the relay's host sees them."""

_SHB, _IDB, _NRB, _ISB, _EPB, _DPEB = 0x0A0D0D0A, 1, 4, 5, 6, 0x80000001
_BYTE_ORDER_MAGIC = 0x1A2B3C4D
_LENGTH_UNKNOWN = -1
_COMMENT = 1
_USER_APPLICATION = 4
_IF_NAME, _IF_DESCRIPTION, _IF_TSRESOL = 2, 3, 9
_NANOSECONDS = b"\x09"
_EPB_FLAGS, _EPB_DROPCOUNT = 2, 4
_ISB_IFDROP = 5
_DPEB_NAME = 2
_EPB_PROCESS, _EPB_EFFECTIVE_PROCESS = 0x8001, 0x8003
_NRB_BY_VERSION = {4: 1, 6: 2}
_MAX_OPTION_BYTES = 0xFFFF
_MAX_NAME_BYTES = 15  # of a process: MAXCOMLEN less its end

_U16X2 = struct.Struct("<HH")
_U32 = struct.Struct("<I")
_U32X2 = struct.Struct("<II")
_U64 = struct.Struct("<Q")
_SHB_BODY = struct.Struct("<IHHq")
_IDB_BODY = struct.Struct("<HHI")
_EPB_BODY = struct.Struct("<IIIII")
_ISB_BODY = struct.Struct("<III")


def section(written_by: str) -> bytes:
    """The block that a file begins with."""
    body = _SHB_BODY.pack(_BYTE_ORDER_MAGIC, 1, 0, _LENGTH_UNKNOWN)
    return _block(_SHB, [body, _text(_USER_APPLICATION, written_by), _end()])


def interface(name: str, description: str, link_type: int) -> bytes:
    """An interface; packets refer to the first one by 0. Times on it are in nanoseconds."""
    body = _IDB_BODY.pack(link_type, 0, 0)  # no limit to a packet's length
    options = _text(_IF_NAME, name) + _text(_IF_DESCRIPTION, description) + _option(_IF_TSRESOL, _NANOSECONDS)
    return _block(_IDB, [body, options, _end()])


def process(pid: int, name: str) -> bytes:
    """A process."""
    return _block(_DPEB, [_U32.pack(pid), _text(_DPEB_NAME, name, _MAX_NAME_BYTES), _end()])


def name_of(address: str, name: str) -> bytes:
    """A name that an address, IPv4 or IPv6, was found under."""
    ip = ipaddress.ip_address(address)
    record = _option(_NRB_BY_VERSION[ip.version], ip.packed + name.encode("utf-8", "replace") + b"\0")
    return _block(_NRB, [record, _end()])


def packet_options(
    direction: int, comment: str = "", process: int | None = None, effective_process: int | None = None
) -> bytes:
    """What packets that have this in common say of themselves. A process is the index of its block.

    The first process has the socket; the effective one is that on whose behalf it acts.
    """
    options = _text(_COMMENT, comment) if comment else b""
    options += _option(_EPB_FLAGS, _U32.pack(direction))
    if process is not None:
        options += _option(_EPB_PROCESS, _U32.pack(process))
    if effective_process is not None:
        options += _option(_EPB_EFFECTIVE_PROCESS, _U32.pack(effective_process))
    return options


def packet(
    interface: int,
    at_ns: int,
    parts: Sequence[Buffer],
    options: bytes,
    *,
    missing_bytes: int = 0,
    lost_before: int = 0,
) -> bytes:
    """A packet, `at_ns` since the epoch; its last `missing_bytes` are known to have been, and not given."""
    size = sum(map(len, parts))
    body = _EPB_BODY.pack(interface, at_ns >> 32, at_ns & 0xFFFFFFFF, size, size + missing_bytes)
    if lost_before:
        options += _option(_EPB_DROPCOUNT, _U64.pack(lost_before))
    return _block(_EPB, [body, *parts, bytes(-size % 4), options, _end()])


def statistics(interface: int, at_ns: int, lost: int) -> bytes:
    """How many packets of an interface are not in the file."""
    body = _ISB_BODY.pack(interface, at_ns >> 32, at_ns & 0xFFFFFFFF)
    return _block(_ISB, [body, _option(_ISB_IFDROP, _U64.pack(lost)), _end()])


def _block(kind: int, parts: Iterable[Buffer]) -> bytes:
    body = b"".join(parts)
    length = len(body) + 12
    return b"".join((_U32X2.pack(kind, length), body, _U32.pack(length)))


def _text(code: int, text: str, most_bytes: int = _MAX_OPTION_BYTES) -> bytes:
    data = text.encode("utf-8", "replace")[:most_bytes]
    return _option(code, data.decode("utf-8", "ignore").encode())  # a character that was cut is left out


def _option(code: int, value: bytes) -> bytes:
    return _U16X2.pack(code, len(value)) + value + bytes(-len(value) % 4)


def _end() -> bytes:
    return bytes(4)
