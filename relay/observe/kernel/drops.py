"""Notice by counting that a socket filter has withheld a segment.

A withheld segment raises the socket's drop counter (SO_MEMINFO) and nothing else. But TCP itself counts there what it
throws away, and that is no offence: on Linux 6.18 every keepalive probe raises it by one, as does an old duplicate.
Those segments were let through by the filter before, and so they also raise `tcpi_segs_in`. Hence

    more drops than segments in            --> something was withheld, for certain
    drops, but not more than segments in   --> unknown; ask, or wait for the peer's retransmission

The counters are two system calls: the segments are read before and after the drops, so that one that arrives in between
counts against certainty, never for it.

Sockets are busy for a second after they were added, were touched or a segment came in, and are looked at every
`tick_s`; of the others only the drops, in turn, each once in `slots` ticks.

Measured (Linux 6.18, a busy machine of two cores), at 5 ms and 20 slots: 1,000 idle sockets cost 2 to 3.5 % of one
core, 1,000 busy ones 30 to 50 %, which is why this is the second choice; at 50 ms and 20 slots 10,000 idle ones cost 2
to 7 %.
"""

from __future__ import annotations

import socket
import struct

from relay.clock import real_s
from relay.observe.kernel.host import Host, Timer

_SO_MEMINFO = 55  # asm-generic/socket.h
_DROPS_AT = 32  # SK_MEMINFO_DROPS, the ninth of u32s, linux/sock_diag.h
_MEMINFO_BYTES = 36
_SOL_SOCKET = int(socket.SOL_SOCKET)
_TCP_INFO = 11
_SEGS_IN_AT = 140  # struct tcp_info, linux/tcp.h
_BUSY_FOR_S = 1.0
_U32 = struct.Struct("=I")
_WRAP = 0xFFFFFFFF
_NO_DROPS = bytes(_U32.size)


def drops_of(sock: socket.socket) -> int:
    """Return how many segments for this socket were thrown away, by its filter or by TCP."""
    drops: int = _U32.unpack_from(sock.getsockopt(_SOL_SOCKET, _SO_MEMINFO, _MEMINFO_BYTES), _DROPS_AT)[0]
    return drops


def segments_in(sock: socket.socket) -> int:
    """Return how many segments the filter has let through to TCP."""
    segments: int = _U32.unpack_from(sock.getsockopt(socket.IPPROTO_TCP, _TCP_INFO, _SEGS_IN_AT + 4), _SEGS_IN_AT)[0]
    return segments


class Counted:
    """A socket whose drops are counted; a subclass is called when they rose."""

    __slots__ = ("busy_until_s", "meminfo", "poller", "segments", "slot", "sock")

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.poller: DropPoller | None = None
        self.slot = 0
        self.busy_until_s = 0.0
        # 0 costs no system call, and errs on the safe side: everything that came in so far counts against certainty.
        self.segments = 0
        self.meminfo = _NO_DROPS

    def rose(self, certain: bool) -> None:
        """The drops rose; `certain` if by something that the filter withheld."""
        raise NotImplementedError

    def start(self) -> None:
        """Begin to count: what was counted before is left out."""
        self.segments = segments_in(self.sock)
        self.meminfo = _U32.pack(drops_of(self.sock))

    def look(self) -> bool:
        """Compare the counters with those of the last look; return whether something has come.

        Raises:
            OSError: the socket is closed.
        """
        before, drops = segments_in(self.sock), drops_of(self.sock)
        came = before != self.segments
        new_drops = (drops - _U32.unpack(self.meminfo)[0]) & _WRAP
        let_in = (segments_in(self.sock) - self.segments) & _WRAP if new_drops else 0
        self.segments = before
        if new_drops:
            self.meminfo = _U32.pack(drops)
            self.rose(new_drops > let_in)
        return came or new_drops > 0


class DropPoller:
    """Looks at the counters of all its sockets: every `tick_s` those that are busy, every `tick_s * slots` the others.

    With `follows_busy` false no socket counts as busy.
    """

    def __init__(self, host: Host, *, tick_s: float, slots: int, follows_busy: bool = True) -> None:
        self._host = host
        self._tick_s = tick_s
        self._follows_busy = follows_busy
        self._now_s = real_s()
        self._idle: list[set[Counted]] = [set() for _ in range(slots)]
        self._busy: set[Counted] = set()
        self._count = 0
        self._next_slot = 0
        self._slot = 0
        self._timer: Timer | None = None

    def add(self, counted: Counted) -> None:
        """Count the drops of a connected socket from now on.

        Raises:
            OSError: the socket is closed.
        """
        self._next_slot = (self._next_slot + 1) % len(self._idle)
        if self._follows_busy:
            counted.start()
        counted.poller = self
        counted.slot = self._next_slot
        self._idle[counted.slot].add(counted)
        self._count += 1
        self.touch(counted)
        if self._timer is None:
            self._timer = self._host.call_later(self._tick_s, self._tick)

    def touch(self, counted: Counted) -> None:
        """Something is going on there: look often for a while."""
        self._now_s = real_s()
        self._place(counted, came=True)

    def discard(self, counted: Counted) -> None:
        """Count no more; harmless when repeated."""
        of_slot = self._idle[counted.slot]
        if counted in of_slot or counted in self._busy:
            self._count -= 1
            of_slot.discard(counted)
            self._busy.discard(counted)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._busy.clear()
        self._count = 0
        for of_slot in self._idle:
            of_slot.clear()

    def _place(self, counted: Counted, *, came: bool) -> None:
        of_slot = self._idle[counted.slot]
        if counted not in of_slot and counted not in self._busy:
            return  # discarded meanwhile
        if came and self._follows_busy:
            counted.busy_until_s = self._now_s + _BUSY_FOR_S
            of_slot.discard(counted)
            self._busy.add(counted)
        elif self._now_s >= counted.busy_until_s:
            self._busy.discard(counted)
            of_slot.add(counted)

    def _tick(self) -> None:
        self._timer = None
        self._now_s = real_s()
        self._slot = (self._slot + 1) % len(self._idle)
        for counted in [*self._busy]:
            self._look(counted)
        for counted in [*self._idle[self._slot]]:
            # The one line that costs: everything else is for the few that it does not pass over.
            try:
                if counted.sock.getsockopt(_SOL_SOCKET, _SO_MEMINFO, _MEMINFO_BYTES)[_DROPS_AT:] == counted.meminfo:
                    continue
            except OSError:  # closed under us
                self.discard(counted)
                continue
            self._look(counted)
        if self._count:
            self._timer = self._host.call_later(self._tick_s, self._tick)

    def _look(self, counted: Counted) -> None:
        try:
            self._place(counted, came=counted.look())
        except OSError:
            self.discard(counted)
