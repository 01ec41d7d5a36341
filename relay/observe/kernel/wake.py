"""Wakes the relay by the same segment that a socket filter withholds.

A withheld segment makes nothing readable, so a socket on the link layer looks at the same packets with a program of its
own, and hands up the headers of those that differ. It sees a packet just before TCP does, from any peer.

    IPv4, TCP, no fragment, neither SYN nor RST
      one of the `exceptions` (address and both ports): hand up if TOS & mask is not what its SYN had
      else to a port we accept on, or from a port we dial: hand up if TOS & mask is not 0

Most SYNs have no bit of the mask set, and for them the program never changes: a connection costs it nothing. Each of
the others is an exception of its own, up to `MAX_EXCEPTIONS`. They change the program, which costs 0.1 to 0.8 ms: at
once, but at most every 20 ms. An offence that such a flow commits before that is withheld, and seen when it is
retransmitted.

Where several processes serve on the same ports, each is shown the packets of all. A connection of another's is unknown
here, so its offences come to nothing; but it is no exception either, and if its SYN was marked, each of its segments
wakes us for nothing. Measured, Linux 6.18: 15 % of a core at 800 MB/s.

RFC 793 checks a reset before precedence, so an RST is never taken for an offence.

Linux 6.18, measured: a socket bound to ETH_P_IP is never shown outgoing packets, so that a packet on loopback comes
once; with ETH_P_ALL it comes twice unless PACKET_IGNORE_OUTGOING is set. Needs CAP_NET_RAW.
"""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Callable, Iterable

from relay.clock import real_s
from relay.errors import Unsupported
from relay.observe.kernel.bpf import (
    SO_ATTACH_FILTER,
    Instruction,
    Program,
    accept,
    drop,
    if_any,
    if_equal,
    index_by_ip_header,
    load_byte,
    load_byte_x,
    load_half,
    load_half_x,
    load_word,
    load_word_x,
    mask,
    program,
)
from relay.observe.kernel.early import EarlyOffences
from relay.observe.kernel.host import Host, Timer
from relay.observe.kernel.privileges import Capability, how_to_get

MAX_EXCEPTIONS = 32
_LOAD_INTERVAL_S = 0.02
_MAX_PORTS = 64  # beyond, packets of every port are looked at: those with a TOS byte at all are few

_SO_RCVBUFFORCE = 33  # asm-generic/socket.h
_ETH_P_IP = 0x0800
_SOL_PACKET = 263
_PACKET_IGNORE_OUTGOING = 23
_KEY_BYTES = 12
_HEADERS_BYTES = 68  # the longest IPv4 header, and the ports and the sequence number behind it
# A packet in the queue is charged with the whole of its memory, up to 64 KB and more on loopback: 3 of them filled the
# default 208 KB.
_RECEIVE_BUFFER_BYTES = 4 << 20
_TCP_FLAG_SYN_OR_RST = 0x06


class Wake:
    """The AF_PACKET socket and its program; calls `offended(key, tos)` for packets that differ.

    The key is that of `Ends`. `offended` returns whether the connection is known. The last offences of unknown ones are
    kept for a second, for a connection whose socket is not watched yet.

    Raises:
        Unsupported: this host has no AF_PACKET, or CAP_NET_RAW is missing.
    """

    def __init__(self, host: Host, offended: Callable[[bytes, int], bool]) -> None:
        family = getattr(socket, "AF_PACKET", None)
        if family is None:
            raise Unsupported("no AF_PACKET on this system", hint="use relay on Linux")
        self._offended = offended
        self._mask = 0
        self._accepting: set[int] = set()
        self._dialled: set[int] = set()
        self._exceptions: dict[bytes, list[Instruction]] = {}
        self._host = host
        self._loaded_at_s = 0.0
        self._reload: Timer | None = None
        self._early = EarlyOffences()
        try:
            self._socket = socket.socket(family, socket.SOCK_DGRAM, socket.htons(_ETH_P_IP))
        except PermissionError as fault:
            hint = how_to_get((Capability.NET_RAW,))
            raise Unsupported("no AF_PACKET socket: CAP_NET_RAW is missing", hint=hint) from fault
        try:
            self._socket.setblocking(False)
            with contextlib.suppress(PermissionError):
                self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _RECEIVE_BUFFER_BYTES)
            self._socket.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)
            # What came in before this is unfiltered, and no harm: nothing is watched yet.
            self._load()
        except OSError as fault:
            self._socket.close()
            raise Unsupported(f"AF_PACKET: {fault.strerror}", hint="use Linux 4.20 or later") from fault
        self._unwatch = host.watch_readable(self._socket, self.read)

    def cover(self, accepting_port: int | None, peer_port: int, bits: int) -> bool:
        """Have the program look at a connection's packets; return whether it did so already.

        `accepting_port` is the port that it was accepted on, None if we have dialled it. Ports are never forgotten.
        """
        ports, port = (self._accepting, accepting_port) if accepting_port is not None else (self._dialled, peer_port)
        if port in ports and bits & self._mask == bits:
            return True
        self._mask |= bits
        ports.add(port)
        self._load()
        return False

    def add_exception(self, key: bytes, syn_tos: int, bits: int) -> bool:
        """Judge one connection by its own SYN; False if there are too many such already."""
        if len(self._exceptions) >= MAX_EXCEPTIONS:
            return False
        self._exceptions[key] = _exception(key, syn_tos & bits, bits)
        self._load_soon()
        return True

    def forget(self, key: bytes) -> None:
        """The connection is watched no more."""
        self._early.pop(key, None)
        if self._exceptions.pop(key, None) is not None:
            self._load_soon()

    def early_offence(self, key: bytes) -> tuple[int, int] | None:
        """Return TOS byte and sequence number of a packet that came just before, from a connection that had this key.

        That may be another than the one that has it now.
        """
        return self._early.claim(key)

    def close(self) -> None:
        self._unwatch()
        if self._reload is not None:
            self._reload.cancel()
        self._socket.close()

    def read(self, offended: Callable[[bytes, int], bool] | None = None) -> None:
        """Hand up what has come in, to `offended` this time; the host calls this, and who wants to know at once."""
        tell = offended if offended is not None else self._offended
        while True:
            try:
                packet = self._socket.recv(_HEADERS_BYTES)
            except BlockingIOError:
                return
            except OSError:  # ENETDOWN is reported once when an interface goes away
                continue
            ports_at = (packet[0] & 0x0F) * 4 if packet else 0
            key = packet[12:20] + packet[ports_at : ports_at + 4]
            if len(key) < _KEY_BYTES:  # it came in before the first program, which lets no such packet pass
                continue
            if not tell(key, packet[1]):
                self._early.note(key, packet[1], int.from_bytes(packet[ports_at + 4 : ports_at + 8], "big"))
            if self._socket.fileno() < 0:
                return

    def _load_soon(self) -> None:
        """Load the program at once, unless that was done just now; then together with whatever else changes."""
        due_in_s = self._loaded_at_s + _LOAD_INTERVAL_S - real_s()
        if due_in_s <= 0:
            self._load()
        elif self._reload is None:
            self._reload = self._host.call_later(due_in_s, self._load)

    def _load(self) -> None:
        if self._reload is not None:
            self._reload.cancel()
            self._reload = None
        self._loaded_at_s = real_s()
        self._program = wake_program(self._mask, self._accepting, self._dialled, self._exceptions.values())
        self._socket.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, self._program.fprog)


def _exception(key: bytes, wanted: int, bits: int) -> list[Instruction]:
    source, ports = struct.unpack("!I4xI", key)
    return [
        load_word_x(0),
        if_equal(ports, otherwise=7),
        load_word(12),
        if_equal(source, otherwise=5),
        load_byte(1),
        mask(bits),
        if_equal(wanted, otherwise=1),
        drop(),
        accept(_HEADERS_BYTES),
    ]


def wake_program(
    bits: int, accepting: set[int], dialled: set[int], exceptions: Iterable[list[Instruction]] = ()
) -> Program:
    """Assemble the program that the module's docstring describes."""
    code: list[Instruction] = [
        load_byte(9),
        if_equal(socket.IPPROTO_TCP, then=1),
        drop(),
        load_half(6),
        if_any(0x1FFF, otherwise=1),  # not the first fragment: no ports in it
        drop(),
        index_by_ip_header(0),
        load_byte_x(13),
        if_any(_TCP_FLAG_SYN_OR_RST, otherwise=1),
        drop(),
    ]
    for exception in exceptions:
        code += exception
    code += [load_byte(1), mask(bits), if_equal(0, otherwise=1), drop()]
    if len(accepting) + len(dialled) > _MAX_PORTS:
        return program(*code, accept(_HEADERS_BYTES))
    for offset, ports_of in ((2, accepting), (0, dialled)):
        code.append(load_half_x(offset))
        for port in sorted(ports_of):
            code += [if_equal(port, otherwise=1), accept(_HEADERS_BYTES)]
    return program(*code, drop())
