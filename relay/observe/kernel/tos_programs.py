"""The programs of provider `ebpf`: what runs on a connection, what runs on its listener, and what both report.

They run in the kernel for each segment, before TCP sees it. What they report comes out of a ring (`ring.py`), one
record for each segment whose TOS byte differs; `read_report` takes one apart.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from relay.observe.kernel import ebpf
from relay.observe.kernel.ebpf import R0, R1, R2, R3, R4, R6, R7, R8, Code

_TCP_FLAGS_AT = 13
_TCP_FLAG_RST, _TCP_FLAG_SYN = 0x04, 0x02
_VERSION_AT = ebpf.NET_HEADER
_TOS_AT = ebpf.NET_HEADER + 1
_SOURCE_AT, _DESTINATION_AT = ebpf.NET_HEADER + 12, ebpf.NET_HEADER + 16
_PORTS_AT, _SEQUENCE_AT = 0, 4
_PASS, _DROP = -1, 0
# What a program reports, as it lies on its stack: addresses and ports and the SYN's sequence number (zeros, if it runs
# on a connection that is attached to), the socket's cookie, the TOS byte.
_RECORD = struct.Struct("=16s8sB")
_RECORD_AT = -32
_KEY_AT, _ISN_AT, _COOKIE_AT, _NEW_TOS_AT = _RECORD_AT, _RECORD_AT + 12, _RECORD_AT + 16, _RECORD_AT + 24
ENDS_BYTES = 12
NO_KEY = bytes(16)
# What is remembered of a SYN, as it lies on the stack: sequence number, TOS byte; a word each.
_SYN_AT, _SYN_TOS_AT, SYN_BYTES = -40, -36, 8

_LOAD_TOS: list[Code] = [ebpf.load_packet_byte(_TOS_AT), ebpf.copy(R7, R0)]


def _tell(ring: int) -> list[Code]:
    """Put what is at `_KEY_AT`, the socket's cookie and R7 into the ring."""
    return [
        ebpf.copy(R1, R6),
        ebpf.call(ebpf.GET_SOCKET_COOKIE),
        ebpf.store_double(_COOKIE_AT, R0),
        ebpf.store_byte(_NEW_TOS_AT, R7),
        *ebpf.put_map(R1, ring),
        *ebpf.put_stack(R2, _RECORD_AT),
        ebpf.put(R3, _RECORD.size),
        ebpf.put(R4, ebpf.RING_FORCE_WAKEUP),
        ebpf.call(ebpf.RINGBUF_OUTPUT),
    ]


def withholding_program(wanted: int, bits: int, ring: int) -> bytes:
    """Assemble the program for a connection: drop and report what has not `wanted` in these bits. RST passes."""
    return ebpf.assemble(
        ebpf.copy(R6, R1),
        ebpf.load_packet_byte(_TCP_FLAGS_AT),
        ebpf.if_any(R0, _TCP_FLAG_RST, "pass"),
        *_LOAD_TOS,
        ebpf.mask(R0, bits),
        ebpf.if_equal(R0, wanted, "pass"),
        ebpf.put(R0, 0),
        ebpf.store_double(_KEY_AT, R0),
        ebpf.store_double(_KEY_AT + 8, R0),
        *_tell(ring),
        *ebpf.leave(_DROP),
        "pass",
        *ebpf.leave(_PASS),
    )


def listening_program(bits: int, ring: int, syns: int) -> bytes:
    """Assemble the program for a listener: report what differs in these bits from its connection's SYN."""
    return ebpf.assemble(
        ebpf.copy(R6, R1),
        ebpf.load_packet_byte(_VERSION_AT),
        ebpf.mask(R0, 0xF0),
        ebpf.if_equal(R0, 0x40, "IPv4"),
        *ebpf.leave(_PASS),
        "IPv4",
        ebpf.load_packet_byte(_TCP_FLAGS_AT),
        ebpf.if_any(R0, _TCP_FLAG_RST, "pass"),
        ebpf.copy(R8, R0),
        *_LOAD_TOS,
        ebpf.load_packet_word(_SOURCE_AT),
        ebpf.store_word(_KEY_AT, R0),
        ebpf.load_packet_word(_DESTINATION_AT),
        ebpf.store_word(_KEY_AT + 4, R0),
        ebpf.load_packet_word(_PORTS_AT),
        ebpf.store_word(_KEY_AT + 8, R0),
        ebpf.if_any(R8, _TCP_FLAG_SYN, "SYN"),
        *ebpf.put_map(R1, syns),
        *ebpf.put_stack(R2, _KEY_AT),
        ebpf.call(ebpf.MAP_LOOKUP),
        ebpf.if_equal(R0, 0, "pass"),
        ebpf.load_word(R1, R0, _SYN_TOS_AT - _SYN_AT),
        ebpf.xor(R1, R7),
        ebpf.mask(R1, bits),
        ebpf.if_equal(R1, 0, "pass"),
        ebpf.load_word(R1, R0, 0),
        ebpf.store_word(_ISN_AT, R1),
        *_tell(ring),
        "pass",
        *ebpf.leave(_PASS),
        "SYN",
        ebpf.load_packet_word(_SEQUENCE_AT),
        ebpf.store_word(_SYN_AT, R0),
        ebpf.store_word(_SYN_TOS_AT, R7),
        *ebpf.put_map(R1, syns),
        *ebpf.put_stack(R2, _KEY_AT),
        *ebpf.put_stack(R3, _SYN_AT),
        ebpf.put(R4, 0),
        ebpf.call(ebpf.MAP_UPDATE),
        *ebpf.leave(_PASS),
    )


class Report(NamedTuple):
    """What a program reports of a segment."""

    key: bytes
    """The connection's, as `key_of_syn` has it; `NO_KEY` if the program runs on the connection itself."""
    cookie: bytes
    """The socket's: of the connection, or of its listener."""
    tos: int


def read_report(record: bytes) -> Report:
    """Take a record apart."""
    return Report(*_RECORD.unpack(record))


def key_of_syn(key: bytes, isn: int) -> bytes:
    """`Ends.key` and the SYN as a program has them: in words, which loading from a packet turns into our order."""
    return struct.pack("=4I", *struct.unpack("!3I", key), isn)
