"""A leg that is a TCP of our own: our half of a connection with the guest; see `relay.legs.Leg`.

    RunningTcp   has the deadlines kept and the segments sent    `relay.wire.running`
    SeeingTcp    tells a witness what it sees of the guest       `relay.wire.sight`
    WireLeg      reads and writes for an owner, as its leg

When the driver has closed the leg, the TCP lives on in the NAT's table until its last segment was acknowledged, and its
TIME-WAIT is over.
"""

from __future__ import annotations

import errno

from relay.address import Endpoint
from relay.legs import BROKEN, LegOwner
from relay.legs.ending import reset_after_data
from relay.legs.unowned import NO_OWNER
from relay.wire.ends import Ends
from relay.wire.running import Wire
from relay.wire.segment import Segment
from relay.wire.sight import SeeingTcp
from relay.wire.tcp import Seen, Tcp

_NEWS = Seen.READABLE | Seen.FIN | Seen.RST | Seen.TIMED_OUT  # a read finds each of them
_IGNORED_S = 180.0  # longer than a guest repeats its SYN


class WireLeg(SeeingTcp):
    """The guest's side of one flow."""

    __slots__ = (
        "_error",
        "_fin_read",
        "_fin_wanted",
        "_ignored",
        "_undelivered_bytes",
        "_unsent",
        "broken",
        "frozen",
        "local",
        "owner",
        "peer",
        "readable",
    )

    def __init__(self, wire: Wire, tcp: Tcp, ends: Ends) -> None:
        super().__init__(wire, tcp, ends)
        self.owner: LegOwner = NO_OWNER
        self.local: Endpoint | None = ends.destination
        """What the guest takes our end to be: the destination itself."""
        self.peer: Endpoint | None = ends.guest
        self.readable = False
        self.frozen = False
        self.broken = 0
        self._unsent = bytearray()  # written while the leg was frozen
        self._undelivered_bytes = 0
        self._fin_wanted = False
        self._fin_read = False
        self._error = 0  # what has ended the connection, before a read meets it
        self._ignored = False

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

    # The handshake

    def dial(self) -> None:
        """Send our SYN."""
        self._emit()

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

    def reset_after_data(self) -> None:
        reset_after_data(self)

    def close(self) -> None:
        if not self.closed:
            self._did(self.tcp.close(self.loop.now_s()))
            self._let_go()

    def _let_go(self) -> None:
        """The driver is done with it; the TCP goes on by itself."""
        self.closed = True
        self.readable = False
        self.owner = NO_OWNER
        self._answered = None
        self._undelivered_bytes += len(self._unsent)
        self._unsent.clear()
        self.unwatch()
