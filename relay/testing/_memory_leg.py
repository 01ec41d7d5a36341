"""A leg without a kernel: two of them are the ends of one connection, in this process's memory.

    app, leg = memory_pair(loop, Side.INTERNAL)     a peer, and our half of the connection to it

Each is a `relay.legs.Leg`. What one writes goes into the other's window as far as that has room, and counts as
acknowledged there; the rest waits. A FIN follows the bytes, a RST overtakes those that wait. What a leg sees of its
peer's segments is in `_memory_sight`, keepalive in `_memory_keepalive`.
"""

from __future__ import annotations

import errno
import itertools
from collections.abc import Callable, Collection

from relay.abilities import Want
from relay.address import Endpoint
from relay.events import Side, SideName
from relay.legs import BROKEN, WOULD_BLOCK, LegOwner, Loop, PeerSocket, Process, Witness
from relay.legs.ending import reset_after_data
from relay.legs.unowned import NO_OWNER
from relay.testing._memory_keepalive import Keepalive
from relay.testing._memory_sight import Sight

WINDOW_BYTES = 64 * 1024
_PORTS = itertools.count(49_152)


class MemoryLeg:
    """One end of a connection in memory; see `relay.legs.Leg`."""

    def __init__(self, loop: Loop, side: Side, owner: LegOwner | None = None) -> None:
        self.loop = loop
        self.side = side
        self.owner: LegOwner = owner if owner is not None else NO_OWNER
        self.readable = False
        self.frozen = False
        self.broken = 0
        self.closed = False
        self.local: Endpoint | None = Endpoint("192.0.2.1", next(_PORTS))
        self.process: Process | None = None
        """The process that has this end, for the other's `find_process`."""
        self.peer_socket: PeerSocket | None = None
        """What `look_at_peer` gives."""
        self.tos = 0
        """The TOS byte of this end's segments; the SYN's was 0."""
        self.other: MemoryLeg = self
        """The other end."""
        self.answers_probes = False
        """Whether keepalive probes are answered at once whatever is wanted, as a kernel does."""
        self.probes_seen = 0
        """How many keepalive probes of the peer's have arrived here."""
        self._window_bytes = WINDOW_BYTES
        self._inbox = bytearray()
        self._unsent = bytearray()
        self._fin_wanted = self._fin_sent = self._fin_arrived = self._fin_read = False
        self._error = 0
        self._undelivered_bytes = 0
        self._blackholed = False
        self.forgotten = False
        """Whether what the peer sends is answered with RST."""
        self._called = False
        self._keepalive = Keepalive(self)
        self._probe_waits = False  # for `answer_probe`
        self._sight = Sight(self)

    @property
    def peer(self) -> Endpoint | None:
        return self.other.local

    @property
    def has_room(self) -> bool:
        return not (self._unsent or self.frozen or self.closed) and self.other.takes_bytes > 0

    @property
    def has_unsent(self) -> bool:
        return bool(self._unsent)

    @property
    def takes_bytes(self) -> int:
        """How many bytes its window has room for."""
        return 0 if self.hears_nothing or self._sight.withholds else max(0, self._window_bytes - len(self._inbox))

    @property
    def timed_out(self) -> bool:
        return self.broken == errno.ETIMEDOUT

    @property
    def hears_nothing(self) -> bool:
        """Whether what the other end sends is lost."""
        return self._blackholed or self.closed

    @property
    def is_dead(self) -> bool:
        """Whether the connection has broken, whether that was found or not."""
        return bool(self._error)

    # Reading

    def receive_into(self, buffer: memoryview) -> int:
        if self._inbox:
            was_full = not self.takes_bytes
            count = min(len(buffer), len(self._inbox))
            buffer[:count] = self._inbox[:count]
            del self._inbox[:count]
            self.other.call_flush(has_room_again=was_full)
            return count
        if self._error:
            self.broken = self.broken or self._error
            return BROKEN
        if self._fin_arrived:
            self._fin_read = True
            return 0
        self.readable = False
        return WOULD_BLOCK

    # Writing

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._error:
            self.broken = self.broken or self._error
            self.readable = True
            self._undelivered_bytes += len(data)
        elif not self.closed:
            self._unsent += data
            self.flush()

    def flush(self) -> None:
        if self.frozen or self._error:
            return
        if self.other.forgotten and (self._unsent or self._fin_wanted):
            self.take_rst()
            return
        if self._unsent:
            self.other.take_tos(self.tos)
        count = min(len(self._unsent), self.other.takes_bytes)
        if count:
            self.other.take(self._unsent[:count])
            del self._unsent[:count]
        if self._fin_wanted and not self._unsent and not self.other.hears_nothing:
            self._send_fin()

    def call_flush(self, *, has_room_again: bool = False) -> None:
        """The peer's window has room: go on with what waits, after whatever has made that room."""
        if self._unsent or self._fin_wanted or has_room_again:
            self.loop.call_soon(self._flush_and_call)

    def _flush_and_call(self) -> None:
        self.flush()
        self._call()

    def finish(self) -> None:
        if not (self.closed or self._fin_sent):
            self._fin_wanted = True
            self.flush()

    def _send_fin(self) -> None:
        self._fin_wanted, self._fin_sent = False, True
        self.other.take_fin()
        if self._fin_read:
            self.close()

    # What arrives

    def take(self, data: bytes | bytearray) -> None:
        """The peer's bytes have arrived."""
        self._inbox += data
        self._keepalive.heard()
        self._call()

    def take_fin(self) -> None:
        """The peer's FIN has arrived."""
        self._fin_arrived = True
        self._keepalive.heard()
        self._call()

    def take_rst(self, error: int = errno.ECONNRESET) -> None:
        """The peer's RST has arrived, or the connection was found dead."""
        if not self._error:
            self._error = error
            self._drop_unsent()
            self._call()

    def take_probe(self) -> bool:
        """A keepalive probe of the peer's has arrived; whether it is answered with an ACK, at once."""
        if self.forgotten:
            self.other.take_rst()
        if self.hears_nothing:
            return False
        self.probes_seen += 1
        self._probe_waits = self._sight.leaves_answers_to_server and not self.answers_probes
        self._sight.see_probe(answered=not self._probe_waits)
        return not self._probe_waits

    def take_answer(self) -> None:
        """The answer to a keepalive probe has arrived."""
        if not self.hears_nothing:
            self._keepalive.heard()

    def take_tos(self, tos: int) -> None:
        """A segment of the peer's arrives with this TOS byte."""
        self._sight.see_tos(tos)

    def _call(self) -> None:
        self.readable = True
        if not self._called and not self.closed:
            self._called = True
            self.loop.call_soon(self._tell_owner)

    def _tell_owner(self) -> None:
        self._called = False
        if not self.closed:
            self.owner.on_leg_ready(self)

    # What it sees

    def watch(self, wants: Collection[Want], witness: Witness) -> None:
        self._sight.watch(wants, witness)

    def unwatch(self) -> None:
        self._sight.unwatch()

    def glimpse_process(self) -> Process | None:
        return self.find_process()

    def find_process(self) -> Process | None:
        return self.other.process

    def look_at_peer(self) -> PeerSocket | None:
        return self.peer_socket

    # Ending

    def reset(self) -> None:
        if not self.closed:
            self._end()
            self._drop_unsent()
            if not self.other.hears_nothing:
                self.other.take_rst()

    def reset_after_data(self) -> None:
        reset_after_data(self)

    def close(self) -> None:
        if self.closed:
            return
        if self._inbox and not self._error:
            self.reset()
            return
        self._end()
        self._drop_unsent()
        if not (self._fin_sent or self._error or self.other.hears_nothing):
            self._fin_sent = True
            self.other.take_fin()

    def _end(self) -> None:
        self.closed = True
        self.readable = False
        self.owner = NO_OWNER
        self._sight.unwatch()
        self._keepalive.stop()

    def _drop_unsent(self) -> None:
        self._undelivered_bytes += len(self._unsent)
        self._unsent.clear()
        self._fin_wanted = False

    def find_broken(self) -> bool:
        self.broken = self.broken or self._error
        return bool(self.broken)

    def unacked_bytes(self) -> int:
        return self._undelivered_bytes + len(self._unsent)

    def waiting_bytes(self) -> int:
        return len(self._unsent)

    def unread_bytes(self) -> int:
        return len(self._inbox)

    # Knobs

    def freeze(self) -> None:
        self.frozen = True

    def thaw(self) -> None:
        self.frozen = False
        if not self.closed:
            self.flush()
            self.readable = True
            self.owner.on_leg_ready(self)

    def blackhole(self, on: bool) -> bool:
        self._blackholed = on
        if not on:
            self.other.call_flush()
        return True

    def forget(self) -> bool:
        if not self.closed:
            self._end()
            self._drop_unsent()
            self.forgotten = True
        return True

    def limit_window(self, size_bytes: int) -> None:
        self._window_bytes = size_bytes

    def set_keepalive(self, idle_s: int, interval_s: int, count: int) -> None:
        self._keepalive.start(idle_s, interval_s, count)

    def probe(self, answered: Callable[[], None]) -> bool:
        self._keepalive.ask(answered)
        return True

    def answer_probe(self) -> None:
        if self._probe_waits and not self.closed:
            self._probe_waits = False
            self.other.take_answer()


def memory_pair(loop: Loop, side: Side | SideName = Side.INTERNAL) -> tuple[MemoryLeg, MemoryLeg]:
    """A peer, and the leg that is our half of the connection to it; `side` is the one that the peer is on."""
    side = Side.named(side, where="memory_pair")
    peer, leg = MemoryLeg(loop, side.other), MemoryLeg(loop, side)
    peer.other, leg.other = leg, peer
    return peer, leg
