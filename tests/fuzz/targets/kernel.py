"""What a kernel hands over: netlink answers, packets, SYN headers, struct tcp_info; and the packets it is to watch.

A kernel is trusted, but not to be of one version: a field that is missing, or another before it, must not be taken for
something else. The sockets are real: datagrams come from the other end of a pair, and the packet program runs in the
kernel, attached to one.
"""

from __future__ import annotations

import socket
import struct
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import cache

from fuzz.targets._api import target
from relay.observe import Pollable
from relay.observe.kernel.sock_diag import SockDiag, SocketInfo, request
from relay.observe.kernel.syn import tos_of_syn
from relay.observe.kernel.wake import MAX_EXCEPTIONS, Wake, _exception, wake_program
from relay.observe.providers.tcp_info import counters_of, probes_between

_SO_ATTACH_FILTER, _SO_DETACH_FILTER = 26, 27  # asm-generic/socket.h
_LOCAL, _REMOTE = ("127.0.0.1", 4711), ("127.0.0.1", 22)
_ASKED = request(_LOCAL, _REMOTE)
_ENDS = _ASKED[24:60]


def _answer(tos: bytes, ends: bytes = _ENDS, state: int = 1) -> bytes:
    """A netlink answer as Linux gives it, with these attributes."""
    body = struct.pack("=BBBB", 2, state, 2, 0) + ends + bytes(12) + struct.pack("=IIIII", 5000, 0, 0, 1000, 4242)
    message = bytes(12) + body + tos
    return struct.pack("=IH", 4 + len(message), 20) + message[2:]


_SHUTDOWN, _TOS = struct.pack("=HHBxxx", 5, 8, 0), struct.pack("=HHBxxx", 5, 5, 0x48)


@cache
def _pair(name: str) -> tuple[socket.socket, socket.socket]:
    """Two ends of one datagram socket: what is sent on the first is received on the second, or not, by its filter."""
    ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    for end in ends:
        end.setblocking(False)
    return ends


def _empty(end: socket.socket) -> None:
    with suppress(BlockingIOError):
        while True:
            end.recv(1 << 16)


class _Answered(SockDiag):
    """A netlink socket whose kernel answers whatever one likes."""

    def __init__(self) -> None:
        self._far, self._socket = _pair("netlink")
        self._reply = bytearray(4096)

    def answer_with(self, data: bytes) -> None:
        for end in (self._far, self._socket):
            _empty(end)
        self._far.send(data)


@cache
def _diag() -> _Answered:
    return _Answered()


@target(
    _answer(_TOS),
    _answer(_SHUTDOWN + _TOS),
    _answer(_SHUTDOWN),
    _SHUTDOWN,
    _TOS,
    struct.pack("=IHHIIi", 36, 2, 0, 1, 0, -2),
)
def fuzz_sock_diag(data: bytes) -> str:
    """A netlink answer: a TOS byte that it really holds, or nothing; a refusal is an OSError."""
    diag = _diag()
    seen: list[object] = []
    for stale in (b"", _answer(_SHUTDOWN + _TOS), b"\xff" * 4096):  # what an answer before it has left in the buffer
        diag._reply[:] = stale.ljust(4096, b"\0")
        diag.answer_with(data)
        try:
            seen.append(diag.ask(_ASKED))
        except OSError as fault:
            seen.append(f"errno {fault.errno}")
    assert seen[0] == seen[1] == seen[2], "an answer says the same whatever came before it"
    if not isinstance(seen[0], str):
        assert seen[0] is None or isinstance(seen[0], SocketInfo)
        held = _tos_in(data)
        assert seen[0].tos in held if seen[0] else not held
        return "found" if seen[0] else "not found"
    return seen[0]


def _tos_in(answer: bytes) -> list[int]:
    """The TOS bytes, one if all is well, in an answer to `_ASKED`, by linux/inet_diag.h and linux/netlink.h."""
    answer = answer[: int.from_bytes(answer[:4], sys.byteorder)]
    ends = answer[20:56]
    mapped = _ENDS[:4] + b"".join(bytes(10) + b"\xff\xff" + _ENDS[at : at + 4] for at in (4, 20))
    if answer[17] == 10 or ends not in (_ENDS, mapped):
        return []
    attributes, found = answer[88:], list[int]()
    while len(attributes) > 4:
        size, kind = struct.unpack_from("=HH", attributes)
        if kind == 5:
            found.append(attributes[4])
        attributes = attributes[max(4, -(-size // 4) * 4) :]
    return found


class _NoOwner:
    """A host that is never called back: what comes in is read by hand."""

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> object:
        raise AssertionError("nothing is put off")

    def watch_readable(self, sock: Pollable, callback: Callable[[], None]) -> Callable[[], None]:
        return lambda: None


class _Woken(Wake):
    """The packet socket, with packets of one's own."""

    def __init__(self) -> None:
        self._far, self._socket = _pair("packets")
        self.told: list[tuple[bytes, int]] = []
        self._offended = self._tell

    def _tell(self, key: bytes, tos: int) -> bool:
        self.told.append((key, tos))
        return True

    def take(self, packet: bytes) -> list[tuple[bytes, int]]:
        self.told.clear()
        self._far.send(packet)
        self.read()
        return list(self.told)


@cache
def _woken() -> _Woken:
    return _Woken()


def _packet(*, tos: int = 0, words: int = 5, flags: int = 0x10, fragment: int = 0, protocol: int = 6) -> bytes:
    header = struct.pack(
        "!BBHHHBBH4s4s", 0x40 | words, tos, 40, 0, fragment, 64, protocol, 0, b"\x7f\0\0\1", b"\x7f\0\0\1"
    )
    return header.ljust(words * 4, b"\0") + struct.pack("!HHIIBBHHH", 22, 4711, 0, 0, 0x50, flags, 0, 0, 0)


@target(
    _packet(tos=0x48),
    _packet(),
    _packet(tos=0x20, words=15),
    _packet(tos=0xFF, flags=0x02),
    _packet(tos=0x48, flags=0x04),
    _packet(tos=0x48, fragment=1),
    _packet(tos=0x48, protocol=17),
    b"\x45\x48",
    b"\x00\x20",
    b"\x7f\0\0\1\x7f\0\0\1\x00\x16\x12\x67",
)
def fuzz_wake(data: bytes) -> str:
    """Two bytes that say what is watched, then a packet: the kernel's verdict on it is the one that is documented, and
    what is handed up is a whole key, program or none.
    """
    setup, packet = data[:2].ljust(2, b"\0"), data[2:]
    bits, kinds = (0xE0, 0xFC, 0xFF, 0x02)[setup[0] % 4], setup[0] >> 2
    accepting = {4711, *(range(1, 70) if kinds & 1 else ())} if kinds & 2 else set()
    dialled = {22} if kinds & 4 else set()
    key = packet[12:20] + packet[(packet[0] & 0x0F) * 4 :][:4] if kinds & 8 and packet else b""
    stranger = bool(kinds & 32)
    if stranger:
        key = key[:-1] + bytes((key[-1] ^ 1,)) if key else key
    exceptions = (
        [_exception(key, setup[1] & bits, bits)] * (MAX_EXCEPTIONS if kinds & 16 else 1) if len(key) == 12 else []
    )
    woken = _woken()
    program = wake_program(bits, accepting, dialled, exceptions)
    woken._socket.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program.fprog)
    filtered = woken.take(packet)
    woken._socket.setsockopt(socket.SOL_SOCKET, _SO_DETACH_FILTER, 0)
    expected = _handed_up(packet, bits, accepting, dialled, setup[1] & bits if exceptions and not stranger else None)
    assert bool(filtered) is expected
    for key, tos in (*filtered, *woken.take(packet)):  # unfiltered, too: so it is before the first program is there
        assert len(key) == 12
        assert tos == packet[1]
    return "handed up" if expected else "passed over"


def _handed_up(packet: bytes, bits: int, accepting: set[int], dialled: set[int], own_syn: int | None) -> bool:
    """The rule, as the module's docstring has it."""
    if len(packet) < 20 or packet[9] != socket.IPPROTO_TCP or int.from_bytes(packet[6:8]) & 0x1FFF:
        return False
    tcp = packet[(packet[0] & 0x0F) * 4 :]
    if len(tcp) < 14 or tcp[13] & 0x06:
        return False
    if own_syn is not None:
        return packet[1] & bits != own_syn
    if not packet[1] & bits:
        return False
    source, to = struct.unpack_from("!HH", tcp)
    return len(accepting) + len(dialled) > 64 or to in accepting or source in dialled


# struct tcp_info, linux/tcp.h: the state, then what is read of the rest, in order.
_TCP_INFO = struct.Struct("=B23xI16xI4xI64xQQIIIIII")
(
    _STATE,
    _UNACKED,
    _SENT_AGO,
    _RECEIVED_AGO,
    _ACKED,
    _RECEIVED,
    _SEGS_OUT,
    _SEGS_IN,
    _NOTSENT,
    _RTT,
    _DATA_IN,
    _DATA_OUT,
) = range(12)
_ALL_THE_SAME = frozenset({_STATE, _ACKED, _RECEIVED, _DATA_IN, _DATA_OUT})
_IN_FLIGHT, _SINCE_DATA = (_UNACKED, _NOTSENT), (_SENT_AGO, _RECEIVED_AGO)
_QUIET = bytes(44) + struct.pack("=III", 1000, 0, 1000) + bytes(104)  # no data for a second


@target(
    _QUIET,
    _QUIET + bytes(136) + b"\x01\0\0\0" * 2 + bytes(16),
    struct.pack("=I", 1000) * 40,
    b"\xff" * 8,
    b"\x01" + bytes(7),
)
def fuzz_tcp_info(data: bytes) -> str:
    """A reading of struct tcp_info, and what differs in the next one, byte by byte."""
    before = data[:160].ljust(160, b"\0")
    now = bytes(a ^ b for a, b in zip(before, data[160:320].ljust(160, b"\0"), strict=True))
    probes = probes_between(counters_of(before), now)
    assert probes_between(counters_of(before), before) == probes_between(counters_of(now), now) == 0
    old, new = (_TCP_INFO.unpack(reading) for reading in (before, now))
    came, went = ((new[at] - old[at]) % (1 << 32) for at in (_SEGS_IN, _SEGS_OUT))
    as_it_was = all(a == b for at, (a, b) in enumerate(zip(old, new, strict=True)) if at in _ALL_THE_SAME)
    idle = not any(reading[at] for reading in (old, new) for at in _IN_FLIGHT)
    quiet = all(new[at] >= 900 for at in _SINCE_DATA)
    assert probes == (came if came == went and as_it_was and idle and quiet else 0)
    return "probes" if probes else "none"


@target(_packet(tos=0x48)[:40], b"\x64\x80" + bytes(38), b"\x00", b"\x45")
def fuzz_syn_headers(data: bytes) -> str:
    tos = tos_of_syn(data)
    if len(data) < 2:
        assert tos is None
        return "none"
    assert tos is not None
    assert 0 <= tos <= 0xFF
    if data[0] >> 4 == 4:
        assert tos == data[1]
        return "TOS byte"
    assert tos == int.from_bytes(data[:2]) >> 4 & 0xFF
    return "traffic class"
