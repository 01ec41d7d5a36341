"""Provider `tcp-info`: keepalive probes and their answers, by what they do to a connection's segment counters.

A probe (RFC 9293 section 3.8.4) is an empty segment that TCP has seen before; the kernel answers it with an ACK, does
not report it, and counts both. Hence so many probes came since the last look as

    segments came in, and as many went out, while
    no data came or went, nothing was acknowledged, nothing is in flight or waiting, the state is the same,
    and no data has passed for 0.9 s: Linux probes after a second of silence at the soonest.

A window update raises the segments in alone. A zero-window probe has the shape of a keepalive probe, and is recognised
by the window being closed. Not seen: a probe followed by data before the next look; one that carries a byte of garbage,
as old stacks' do; and probes on a socket that sends keepalive probes itself, whose answers have the same shape.

Sockets are looked at every 0.5 s, those on which nothing at all came or went for 5 s every 2 s: a look at a socket
that the CPU's caches have long forgotten takes some 4 us. So the first probe after a long silence is reported up to 2 s
late, the others up to 0.5 s.

How a peer is probed, and its answer seen, is in `relay.observe.kernel.probing`.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import sys
from collections.abc import Callable, Mapping
from functools import cache
from types import MappingProxyType
from typing import ClassVar

from relay.abilities import Ability, Want
from relay.errors import Unsupported
from relay.observe._api import Failure, Fidelity, Offer, Provider, Target, Watch, Watcher
from relay.observe.kernel.host import Host, Timer
from relay.observe.kernel.probing import Probing
from relay.observe.kernel.tcp_info import READ_BYTES, tcp_info
from relay.observe.self_test import Loop, connection, is_readable

SWEEP_S = 0.5
SILENT_SWEEP_S = 2.0
_SILENT_AFTER_S = 5.0
_SLOTS = 10  # looked at one after the other in a sweep
_SWEEPS_PER_SILENT_ONE = round(SILENT_SWEEP_S / SWEEP_S)
_SILENT_AFTER_LOOKS = round(_SILENT_AFTER_S / SWEEP_S)
_QUIET_MS = 900

# struct tcp_info: offsets of what is read.
_STATE_AT = 0  # u8
_UNACKED_AT = 24  # u32, segments
_LAST_DATA_SENT_AT = 44  # u32, ms ago
_LAST_DATA_RECEIVED_AT = 52  # u32, ms ago
_BYTES_ACKED_AT = 120  # u64
_SEGS_OUT_AT = 136  # u32; then segs_in, u32
_NOTSENT_AT = 144  # u32, bytes
_RECEIVE_WINDOW_AT = 232  # u32, bytes; Linux 6.2
_READ_WITH_WINDOW_BYTES = 236

# Bytes received; segments out and in; data segments in and out: what the self-test compares.
_ALL_COUNTED = struct.Struct("=128xQII8xII")

_HOW = "each probe raises the socket's segment counters; looked at every 0.5 s, or 2 s after 5 s of silence"
_NONE_HERE = "no TCP_INFO with segment counters on this system"

_KEPT_SEGS_AT = 21  # among what `counters_of` keeps
_COUNTED = struct.Struct("=BI16sIII4x8s")
_U32 = struct.Struct("=I")


def counters_of(info: bytes) -> bytes:
    """Return what a later look is compared with: 45 bytes, which every idle flow keeps."""
    return info[: _STATE_AT + 1] + info[_UNACKED_AT : _UNACKED_AT + 4] + info[_BYTES_ACKED_AT:READ_BYTES]


def probes_between(before: bytes, info: bytes) -> int:
    """Return how many segments since the counters `before` have the shape of keepalive probes."""
    state_before, unacked_before, bytes_before, out_before, in_before, unsent_before, data_before = _COUNTED.unpack(
        before
    )
    state, unacked, bytes_now, out, came, unsent, data = _COUNTED.unpack(counters_of(info))
    if (state, bytes_now, data) != (state_before, bytes_before, data_before):
        return 0
    if unacked_before or unacked or unsent_before or unsent:
        return 0
    if any(_U32.unpack_from(info, at)[0] < _QUIET_MS for at in (_LAST_DATA_SENT_AT, _LAST_DATA_RECEIVED_AT)):
        return 0
    new_in, new_out = (came - in_before) & 0xFFFFFFFF, (out - out_before) & 0xFFFFFFFF
    return new_in if new_in == new_out else 0


class _Slot:
    """The sockets that are looked at together."""

    __slots__ = ("lively", "silent")

    def __init__(self) -> None:
        self.lively: set[TcpInfoWatch] = set()
        self.silent: set[TcpInfoWatch] = set()

    def __len__(self) -> int:
        return len(self.lively) + len(self.silent)


class TcpInfoWatch(Watch):
    """One socket, and its counters when it was last looked at."""

    __slots__ = ("_last", "_silent_looks", "_slot", "_sock", "_watcher")

    def __init__(self, slot: _Slot, sock: socket.socket, watcher: Watcher) -> None:
        self._slot = slot
        self._sock = sock
        self._watcher = watcher
        self._last = b""  # nothing, before the first look: a connection that is over by then costs no system call
        self._silent_looks = 0
        slot.lively.add(self)

    def close(self) -> None:
        self._slot.lively.discard(self)
        self._slot.silent.discard(self)

    def look(self) -> None:
        try:
            info = tcp_info(self._sock)
            if not self._last:
                self._last = counters_of(info)
                return
            if info[_SEGS_OUT_AT:_NOTSENT_AT] == self._last[_KEPT_SEGS_AT : _KEPT_SEGS_AT + 8]:
                self._note_silence()
                return
            self._note_life()
            before, self._last = self._last, counters_of(info)
            probes = probes_between(before, info)
            if not probes or self._is_ambiguous():
                return
        except OSError:  # closed under us
            self.close()
            return
        for _ in range(probes):
            if self in self._slot.lively:
                self._watcher.on_probe()

    def _note_silence(self) -> None:
        self._silent_looks += 1
        if self._silent_looks == _SILENT_AFTER_LOOKS:
            self._slot.lively.discard(self)
            self._slot.silent.add(self)

    def _note_life(self) -> None:
        if self._silent_looks >= _SILENT_AFTER_LOOKS:
            self._slot.silent.discard(self)
            self._slot.lively.add(self)
        self._silent_looks = 0

    def _is_ambiguous(self) -> bool:
        if self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE):
            return True
        info = tcp_info(self._sock, _READ_WITH_WINDOW_BYTES)
        return len(info) == _READ_WITH_WINDOW_BYTES and not _U32.unpack_from(info, _RECEIVE_WINDOW_AT)[0]


class TcpInfoProvider(Provider):
    """Keepalive probes, by one sweep over all watched sockets.

    Raises:
        Unsupported: this host has no TCP_INFO with segment counters.
    """

    name: ClassVar[str] = "tcp-info"
    purpose: ClassVar[str] = "keepalive probes only; Linux, no privilege"
    offers: ClassVar[Mapping[Want, Offer]] = MappingProxyType(
        {
            Want(Ability.KEEPALIVE): Offer(Fidelity.EXACT, _HOW),
            Want(Ability.KEEPALIVE_ANSWER, by="nat"): Offer(
                Fidelity.EXACT, f"the relay's kernel answers each probe; {_HOW}"
            ),
            Want(Ability.PROBE): Offer(
                Fidelity.EXACT, "the relay's kernel sends the probe, and the answer raises the socket's segment counter"
            ),
            Want(Ability.IDLENESS, by="segments"): Offer(Fidelity.EXACT, f"bytes are carried, and {_HOW}"),
        }
    )
    requirement: ClassVar[str] = "use relay on Linux 4.6 or later"

    @classmethod
    @cache
    def self_test(cls) -> Failure | None:
        """Check the counters against known traffic, and no more: a real probe takes a second of silence."""
        if sys.platform != "linux":
            return Failure(_NONE_HERE)
        try:
            with connection() as (client, accepted), contextlib.closing(Loop()) as loop:
                before = _ALL_COUNTED.unpack_from(tcp_info(accepted))
                client.sendall(b"12345")
                if not loop.run_until(lambda: is_readable(accepted)):
                    return Failure("nothing arrived on loopback")
                accepted.recv(5)
                accepted.send(b"123")
                after = _ALL_COUNTED.unpack_from(tcp_info(accepted))
        except OSError as fault:
            return Failure.of(fault)
        except struct.error:
            return Failure("no segment counters in TCP_INFO")
        received, out, came, data_in, data_out = (now - then for now, then in zip(after, before, strict=True))
        # Our ACK may ride on our data; the client's may have come back already.
        if received == 5 and data_in == 1 and data_out == 1 and 1 <= out <= 2 and 1 <= came <= 2:
            return None
        return Failure("the segment counters in TCP_INFO do not count as expected")

    def __init__(self, host: Host) -> None:
        if sys.platform != "linux":
            raise Unsupported(_NONE_HERE, hint="use relay on Linux")
        self._host = host
        self._slots = [_Slot() for _ in range(_SLOTS)]
        self._next_slot = 0
        self._turn = 0
        self._timer: Timer | None = None
        self._probing = Probing(host)

    def attach(self, target: Target) -> TcpInfoWatch | None:
        if target.sock.fileno() < 0:
            return None
        self._next_slot = (self._next_slot + 1) % _SLOTS
        watch = TcpInfoWatch(self._slots[self._next_slot], target.sock, target.watcher)
        if self._timer is None:
            self._timer = self._host.call_later(SWEEP_S / _SLOTS, self._sweep)
        return watch

    def probe(self, sock: socket.socket, answered: Callable[[], None]) -> bool:
        self._probing.ask(sock, answered)
        return True

    def close(self) -> None:
        self._probing.close()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for slot in self._slots:
            slot.lively.clear()
            slot.silent.clear()

    def _sweep(self) -> None:
        self._timer = None
        self._turn += 1
        slot = self._slots[self._turn % _SLOTS]
        for watch in list(slot.lively):
            watch.look()
        if (self._turn // _SLOTS + self._turn) % _SWEEPS_PER_SILENT_ONE == 0:
            for watch in list(slot.silent):
                watch.look()
        if any(self._slots):
            self._timer = self._host.call_later(SWEEP_S / _SLOTS, self._sweep)
