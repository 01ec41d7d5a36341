"""A leg that is a kernel's socket: our non-blocking half of one side of a flow.

A leg caches its socket's readiness (edges come once), keeps what the kernel would not take yet (`sending_socket.py`),
and turns errno into values. A leg decides nothing; its owner does, in `on_leg_ready`.

The endings that the kernel offers:

    finish()   FIN after everything written before it; reading goes on
    reset()    RST now; whatever the peer had not acknowledged is lost
    close()    what is left of an exchange that is over

`relay.legs.ending` has the endings that take their time and need no owner above.

A read finds a peer's RST: the bytes that came before it stay readable, the error comes after them. A write may meet the
error first and so consume it; `broken` keeps its errno.
"""

from __future__ import annotations

import contextlib
import errno
import socket
import struct
from collections.abc import Callable, Collection
from typing import Any

from relay.abilities import Want
from relay.address import Endpoint
from relay.events import Side
from relay.legs import BROKEN, WOULD_BLOCK, LegOwner, PeerSocket, Process, Witness
from relay.legs.ending import reset_after_data
from relay.legs.unowned import NO_OWNER
from relay.loop.engine import Engine
from relay.net.abilities import NO_ABILITIES, Abilities, Watch
from relay.net.pipe import Pipe
from relay.net.queues import unread_bytes, unsent_bytes, waiting_bytes
from relay.net.sending_socket import SendingSocket

_LINGER_RST = struct.pack("ii", 1, 0)  # SO_LINGER on, 0 s: close() discards and sends RST
_LINGER_RST_WINDOWS = struct.pack("hh", 1, 0)  # there the two are shorts
_MOST_KEEPALIVE_S = 32_767  # Linux: MAX_TCP_KEEPIDLE, MAX_TCP_KEEPINTVL; more is EINVAL
_DEAD_ERRNOS = frozenset({errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN, errno.ENETDOWN})


class KernelLeg(SendingSocket):
    """One side's socket; see `relay.legs.Leg`. Only the engine's thread may touch it."""

    __slots__ = (
        "_abilities",
        "_ended",
        "_watch",
        "accepted",
        "owner",
        "side",
        "syn",
    )

    def __init__(
        self,
        engine: Engine,
        sock: socket.socket,
        side: Side,
        owner: LegOwner = NO_OWNER,
        abilities: Abilities = NO_ABILITIES,
        *,
        accepted: bool = False,
    ) -> None:
        """Take over a connected socket; code that makes the leg for another owner sets `owner` before it returns.

        Raises:
            OSError: the kernel watches no more sockets for this user (max_user_watches); the socket is closed.
        """
        self.loop = engine
        self.sock = sock
        self.side = side
        self.owner = owner
        self.accepted = accepted
        """Whether it came by a listener of ours; else we dialled."""
        self.syn: Any = None
        """What the providers know of its SYN; it outlives the flow if the initiator asks for another."""
        self.readable = False
        self.writable = True  # a fresh connection takes bytes; no edge says so unless it is asked for
        self.unsent = b""
        self.broken = 0
        self.closed = False
        self.frozen = False
        self.ask_tos = None
        self._abilities = abilities
        self._watch: Watch | None = None
        self._ended = False
        self._undelivered_bytes = 0
        self._finish_pending = False
        self._fin_sent = False
        self._fin_received = False
        try:
            engine.watch(self)
        except OSError:
            sock.close()
            raise

    def on_ready(self, readable: bool, writable: bool, ended: bool) -> None:
        self.readable |= readable
        self.writable |= writable
        self._ended |= ended
        if writable and self.unsent:  # a FIN that waits behind nothing waits for `thaw`
            self.flush()
        self.owner.on_leg_ready(self)

    # Reading

    def receive_into(self, buffer: memoryview) -> int:
        """Read once: a count, 0 for the peer's FIN, `WOULD_BLOCK`, or `BROKEN` (then see `broken`)."""
        if self.ask_tos is not None:
            self.ask_tos()
            if self.closed:
                return WOULD_BLOCK
        try:
            count = self.sock.recv_into(buffer)
        except BlockingIOError:
            self._rest()
            return WOULD_BLOCK
        except OSError as error:
            return self._break(error)
        if count == 0:
            return self._at_end()
        if count < len(buffer) and not self._ended:
            self._rest()  # a short read has emptied the queue: a read for EAGAIN is spared, the next edge comes
        return count

    def splice_into(self, pipe: Pipe) -> int:
        """`receive_into`, for an empty pipe; 0 if only a read can tell what is next.

        That is the peer's FIN, or an urgent byte. At an urgent byte splice stops, and goes on reporting that there is
        nothing, or the end if a FIN is behind it.
        """
        if self.ask_tos is not None:
            self.ask_tos()
            if self.closed:
                return WOULD_BLOCK
        try:
            return pipe.fill(self.sock)
        except BlockingIOError:
            if self._ended:
                return 0
            self._rest()
            return WOULD_BLOCK
        except OSError as error:
            return self._break(error)

    def _at_end(self) -> int:
        if self.broken:
            return BROKEN  # a write met the error and cleared it; what is left looks like a FIN
        self._fin_received = True
        return 0

    def _break(self, error: OSError) -> int:
        self.broken = self.broken or error.errno or errno.ECONNRESET
        return BROKEN

    def _rest(self) -> None:
        self.readable = False
        self.loop.rearm_read(self)

    # What it sees

    @property
    def local(self) -> Endpoint | None:
        try:
            return Endpoint(*self.sock.getsockname()[:2])
        except OSError:
            return None

    @property
    def peer(self) -> Endpoint | None:
        try:
            return Endpoint(*self.sock.getpeername()[:2])
        except OSError:
            return None

    def watch(self, wants: Collection[Want], witness: Witness) -> None:
        if self._watch is not None:
            self._watch.release()
            self._watch.close()
        self._watch = self._abilities.watch(self, wants, witness) if wants else None

    def unwatch(self) -> None:
        if self._watch is not None:
            self._watch.close()
            self._watch = None

    def glimpse_process(self) -> Process | None:
        return self._abilities.glimpse_process(self.sock)

    def find_process(self) -> Process | None:
        return self._abilities.find_process(self.sock)

    def look_at_peer(self) -> PeerSocket | None:
        return self._abilities.look_at_peer(self.sock)

    # Knobs

    def set_keepalive(self, idle_s: int, interval_s: int, count: int) -> None:
        """Have the kernel send keepalive probes; a host without one of the three settings uses its own default.

        Times that are longer than kernels take (9 h) are shortened to that: a relay's slow clock may make them so.
        """
        idle_s, interval_s = min(idle_s, _MOST_KEEPALIVE_S), min(interval_s, _MOST_KEEPALIVE_S)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in (("TCP_KEEPCNT", count), ("TCP_KEEPINTVL", interval_s), ("TCP_KEEPIDLE", idle_s)):
            if hasattr(socket, name):
                self.sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)

    def probe(self, answered: Callable[[], None]) -> bool:
        """Have the kernel ask the peer whether it is there; False where its answer is not seen."""
        return self._abilities.probe(self.sock, answered)

    def answer_probe(self) -> None:
        pass  # the kernel did

    def limit_window(self, size_bytes: int) -> None:
        """Keep the receive buffer, and with it the window, at about this size."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size_bytes)

    def blackhole(self, on: bool) -> bool:
        """Have the kernel drop everything that comes, unseen; False where the host cannot."""
        return self._abilities.blackhole(self.sock, on)

    def forget(self) -> bool:
        """Close the socket and send nothing, as if its kernel had never had it; False where the host cannot."""
        if not self.closed:
            if not self._abilities.vanish(self.sock):
                return False
            self.close()
        return True

    def freeze(self) -> None:
        """Stop reading and writing; what the peer sends fills the kernel's buffer, then its window closes."""
        self.frozen = True

    def thaw(self) -> None:
        """Go on where `freeze` stopped."""
        self.frozen = False
        if not self.closed:
            self.flush()
            self.owner.on_leg_ready(self)

    # Ending

    @property
    def timed_out(self) -> bool:
        """Whether what broke the connection was silence, not a RST."""
        return self.broken in _DEAD_ERRNOS

    def unacked_bytes(self) -> int:
        """How many bytes written to this leg its peer has not acknowledged, as far as the host can tell."""
        return self._undelivered_bytes + len(self.unsent) + (unsent_bytes(self.sock, fin_sent=self._fin_sent) or 0)

    def waiting_bytes(self) -> int:
        """How many bytes written to this leg were not sent yet, as far as its peer is on this host."""
        kernel_has = waiting_bytes(self.sock)
        if kernel_has and ((peer := self.peer) is None or not peer.is_loopback):
            kernel_has = 0
        return len(self.unsent) + kernel_has

    def unread_bytes(self) -> int:
        """How many bytes the peer has sent, and been acknowledged, that were not read."""
        return unread_bytes(self.sock) or 0

    def find_broken(self) -> bool:
        """Ask the socket itself whether it has broken, once the peer has sent a FIN: a read does not report it then."""
        if not self.broken:
            self.broken = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        return bool(self.broken)

    def reset(self) -> None:
        """Send RST, and close the socket."""
        if not self.closed:
            try:
                self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_RST)
            except OSError:
                with contextlib.suppress(OSError):  # the peer has reset it already: there is nothing left to reset
                    self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_RST_WINDOWS)
            self.close()

    def reset_after_data(self) -> None:
        """Send RST once the peer's kernel has all that was written, or takes nothing more."""
        reset_after_data(self)

    def close(self) -> None:
        """Give the socket back; harmless when repeated."""
        if not self.closed:
            self.closed = True
            self.readable = self.writable = False
            # The owner holds the leg too: as a cycle the two would stay in memory until the garbage collector runs.
            self.owner, self.ask_tos = NO_OWNER, None
            if self.unsent:
                self._drop_unsent()
            if self._watch is not None:
                self.unwatch()
            self.loop.unwatch_and_close(self)
