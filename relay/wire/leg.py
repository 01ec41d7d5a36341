"""A leg that is a TCP of our own: our half of a connection with the guest; see `relay.legs.Leg`.

The leg owns a `Tcp`, which is a value, and gives it what it lacks: time, a way to the guest, and an owner. What the TCP
reports is passed on to the owner; what it wants sent goes to the NAT. When the driver has closed the leg, the TCP lives
on in the NAT's table until its last segment was acknowledged, and its TIME-WAIT is over.
"""

from __future__ import annotations

import errno
import math
from collections.abc import Callable, Collection
from typing import Protocol

from relay.abilities import Ability, Want, tos_mask
from relay.address import Endpoint
from relay.events import ProbeArrived, Side, TosChanged
from relay.legs import BROKEN, LegOwner, PeerSocket, Process, Timer, Witness
from relay.loop.engine import Engine
from relay.wire.ends import Ends
from relay.wire.owners import Owners
from relay.wire.segment import Segment
from relay.wire.tcp import Seen, Tcp

_NEWS = Seen.READABLE | Seen.FIN | Seen.RST | Seen.TIMED_OUT  # a read finds each of them
_SEEING_PROBES = frozenset({Ability.KEEPALIVE, Ability.KEEPALIVE_ANSWER, Ability.IDLENESS})
_IGNORED_S = 180.0  # longer than a guest repeats its SYN


class Wire(Protocol):
    """What a leg needs of the NAT that it belongs to."""

    engine: Engine
    owners: Owners
    """Who has the guest's ends."""

    def send_segments(self, leg: WireLeg, segments: list[Segment]) -> None:
        """Send these to the guest, in the connection's packets."""

    def tell_owner(self, leg: WireLeg) -> None:
        """Call the leg's owner, now or once what else has arrived was taken in."""

    def on_established(self, leg: WireLeg) -> None:
        """The guest has completed the handshake."""

    def forget(self, leg: WireLeg) -> None:
        """The connection is over: its ends may be used again."""


class _NoOwner:
    """Owns the legs that are closed."""

    def on_leg_ready(self, leg: object) -> None:
        pass


_NO_OWNER = _NoOwner()


class WireLeg:
    """The guest's side of one flow."""

    __slots__ = (
        "_answered",
        "_armed_s",
        "_error",
        "_fin_read",
        "_fin_wanted",
        "_ignored",
        "_probes_wanted",
        "_seen_tos",
        "_timer",
        "_tos_wanted",
        "_undelivered_bytes",
        "_unsent",
        "_wire",
        "_witness",
        "broken",
        "closed",
        "ends",
        "frozen",
        "local",
        "loop",
        "owner",
        "peer",
        "readable",
        "side",
        "tcp",
    )

    def __init__(self, wire: Wire, tcp: Tcp, ends: Ends) -> None:
        self.loop = wire.engine
        self.ends = ends
        self.side = Side.INTERNAL
        self.owner: LegOwner = _NO_OWNER
        self.tcp = tcp
        self.local: Endpoint | None = ends.destination
        """What the guest takes our end to be: the destination itself."""
        self.peer: Endpoint | None = ends.guest
        self.readable = False
        self.frozen = False
        self.broken = 0
        self.closed = False
        self._wire = wire
        self._unsent = bytearray()  # written while the leg was frozen
        self._undelivered_bytes = 0
        self._fin_wanted = False
        self._fin_read = False
        self._error = 0  # what has ended the connection, before a read meets it
        self._ignored = False
        self._witness: Witness | None = None
        self._tos_wanted = False
        self._probes_wanted = False
        self._answered: Callable[[], None] | None = None  # called when the guest answers our probe
        self._seen_tos = tcp.syn_tos
        self._timer: Timer | None = None
        self._armed_s = math.inf

    # What comes from the guest, or is due

    def on_segment(self, segment: Segment) -> bool:
        """Take in a segment of the guest's; return whether it opens another connection between the same ends."""
        if self._ignored:
            return False
        if segment.tos != self._seen_tos and self._tos_wanted:
            seen = self._on_other_tos(segment)
        else:
            seen = self.tcp.on_segment(segment, self.loop.now_s())
        self._act(seen)
        return seen & Seen.REUSED != 0

    def _on_other_tos(self, segment: Segment) -> int:
        old, self._seen_tos = self._seen_tos, segment.tos
        seen = self.tcp.on_segment(segment, self.loop.now_s())
        withheld = seen & Seen.TOS != 0
        event = TosChanged(self.loop.nat.now_s(), self.side, self.tcp.syn_tos, old, segment.tos)
        if self._witness is not None:
            self._witness.on_leg_saw(event, withheld)
        if withheld and self._tos_wanted and not self.closed:
            seen |= self.tcp.let_through(self.loop.now_s())
        return seen

    def _on_time(self) -> None:
        self._timer, self._armed_s = None, math.inf
        due_s = self.tcp.next_deadline_s
        if due_s is not None and due_s <= self.loop.now_s():
            self._act(self.tcp.on_deadline(self.loop.now_s()))
        else:
            self._arm()

    def _act(self, seen: int) -> None:
        """Send what the TCP has to send, and pass on what it has seen."""
        self._emit()
        if seen & Seen.ESTABLISHED:
            self._wire.on_established(self)
        if seen & (Seen.RST | Seen.TIMED_OUT):
            self._error = errno.ETIMEDOUT if seen & Seen.TIMED_OUT else errno.ECONNRESET
        if seen & (Seen.PROBE | Seen.ANSWERED):
            self._on_probe(seen)
        if seen & (_NEWS | Seen.ROOM) and not self.closed:
            if seen & _NEWS:
                self.readable = True
            self._wire.tell_owner(self)
        if seen & Seen.CLOSED:
            self._forget()

    def _on_probe(self, seen: int) -> None:
        """A probe has come, or the answer to ours."""
        if seen & Seen.ANSWERED and self._answered is not None:
            answered, self._answered = self._answered, None
            answered()
        if seen & Seen.PROBE and self._probes_wanted and self._witness is not None:
            event = ProbeArrived(self.loop.nat.now_s(), self.side, answered=not seen & Seen.PROBE_WAITS)
            self._witness.on_leg_saw(event, False)

    def _emit(self) -> None:
        if segments := self.tcp.take_output():
            self._wire.send_segments(self, segments)
        self._arm()

    def _arm(self) -> None:
        """See that the TCP's deadline is kept. A deadline that moves away, as most do, costs nothing until then."""
        due_s = self.tcp.next_deadline_s
        if due_s is not None and due_s < self._armed_s:
            if self._timer is not None:
                self._timer.cancel()
            self._armed_s = due_s
            self._timer = self.loop.call_later(max(0.0, due_s - self.loop.now_s()), self._on_time)

    def _forget(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._armed_s = -math.inf  # no deadline is kept any more
        self._wire.forget(self)

    # The handshake

    def dial(self) -> None:
        """Send our SYN."""
        self._emit()

    def take_syn(self) -> None:
        """The guest has answered our SYN by its own: the TOS byte of that is the connection's."""
        self._seen_tos = self.tcp.syn_tos

    def grant(self) -> None:
        """Answer the guest's SYN by a SYN-ACK."""
        self._did(self.tcp.grant(self.loop.now_s()))

    def refuse(self) -> None:
        """Answer it by a RST."""
        self._did(self.tcp.refuse(self.loop.now_s()))
        self._let_go()

    def give_up(self) -> None:
        """End it by a RST: its place is needed. Its owner finds it broken by ENOBUFS."""
        self.broken = errno.ENOBUFS
        self._act(self.tcp.give_up(self.loop.now_s()))

    def ignore(self, *, once: bool) -> None:
        """Never answer it; unless it is for once, nor any further SYN of the guest's for a while."""
        self._let_go()
        if once:
            self._forget()
        else:
            self._ignored = True
            self.loop.call_later(_IGNORED_S, self._forget)

    # Reading

    def receive_into(self, buffer: memoryview) -> int:
        count = self.tcp.read_into(buffer)
        if count > 0:
            self._emit()  # the window may have opened
        elif count == 0:
            self._fin_read = True
        elif count == BROKEN:
            self._break()
        else:
            self.readable = False
        return count

    def _break(self) -> None:
        self.broken = self.broken or self._error or errno.ECONNRESET

    @property
    def timed_out(self) -> bool:
        return self.broken == errno.ETIMEDOUT

    def find_broken(self) -> bool:
        if self._error:
            self._break()
        return bool(self.broken)

    # Writing

    @property
    def has_room(self) -> bool:
        return not (self.frozen or self.closed or self._unsent) and self.tcp.has_room

    @property
    def has_unsent(self) -> bool:
        return bool(self._unsent)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if not data:
            return
        if self._error:
            self._break()
            self.readable = True
            self._undelivered_bytes += len(data)
        elif self.frozen:
            self._unsent += data
        elif not self.closed:
            self._did(self.tcp.send(data, self.loop.now_s()))

    def flush(self) -> None:
        if self.frozen or self.closed:
            return
        if self._unsent:
            unsent, self._unsent = self._unsent, bytearray()
            self.write(unsent)
        if self._fin_wanted:
            self.finish()

    def finish(self) -> None:
        if self.closed:
            return
        if self.frozen:
            self._fin_wanted = True
            return
        self._fin_wanted = False
        self._did(self.tcp.finish(self.loop.now_s()))
        if self._fin_read:
            self._let_go()

    # What it sees

    def watch(self, wants: Collection[Want], witness: Witness) -> None:
        mask = tos_mask(wants)
        abilities = {want.ability for want in wants}
        self._witness = witness
        self._tos_wanted = Ability.TOS in abilities
        self._probes_wanted = bool(abilities & _SEEING_PROBES)
        self.tcp.answers_probes = Want(Ability.KEEPALIVE_ANSWER, by="server") not in wants
        self.tcp.watch_tos(mask)
        if self.tcp.withheld is not None:
            self.loop.call_soon(self._let_through)

    def _let_through(self) -> None:
        if not self.closed and self.tcp.withheld is not None:
            self._act(self.tcp.let_through(self.loop.now_s()))

    def unwatch(self) -> None:
        self._witness = None
        self.tcp.answers_probes = True
        self._tos_wanted = self._probes_wanted = False

    def glimpse_process(self) -> Process | None:
        return self._wire.owners.glimpse(self.ends)

    def find_process(self) -> Process | None:
        return self._wire.owners.find(self.ends)

    def look_at_peer(self) -> PeerSocket | None:
        return self._wire.owners.look(self.ends)

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
        self.tcp.blackhole(on)
        return True

    def forget(self) -> bool:
        if not self.closed:
            self._forget()
            self._let_go()
        return True

    def set_keepalive(self, idle_s: int, interval_s: int, count: int) -> None:
        self.tcp.set_keepalive(idle_s, interval_s, count, self.loop.now_s())
        self._arm()

    def probe(self, answered: Callable[[], None]) -> bool:
        self._answered = answered
        self.tcp.probe()
        self._emit()
        return True

    def answer_probe(self) -> None:
        if not self.closed:
            self.tcp.answer_probe()
            self._emit()

    def limit_window(self, size_bytes: int) -> None:
        self.tcp.limit_window(size_bytes)
        self._emit()  # the window may have opened

    # Ending

    def unacked_bytes(self) -> int:
        return self._undelivered_bytes + len(self._unsent) + self.tcp.unacked_bytes

    def waiting_bytes(self) -> int:
        return 0 if self.closed else len(self._unsent) + self.tcp.waiting_bytes

    def unread_bytes(self) -> int:
        return self.tcp.unread_bytes

    def reset(self) -> None:
        if not self.closed:
            self._did(self.tcp.reset(self.loop.now_s()))
            self._let_go()

    def close(self) -> None:
        if not self.closed:
            self._did(self.tcp.close(self.loop.now_s()))
            self._let_go()

    def _let_go(self) -> None:
        """The driver is done with it; the TCP goes on by itself."""
        self.closed = True
        self.readable = False
        self.owner = _NO_OWNER
        self._answered = None
        self._undelivered_bytes += len(self._unsent)
        self._unsent.clear()
        self.unwatch()

    def _did(self, seen: int) -> None:
        """The TCP has done something for us: send what follows from it."""
        self._emit()
        if seen & Seen.CLOSED:
            self._forget()
