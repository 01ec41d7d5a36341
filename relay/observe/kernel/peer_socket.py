"""What the kernel tells of a peer's own socket on this host: what it has yet to send, and when it sends its next
keepalive probe.

A socket of this very process is looked at itself, so its keepalive is known as it was set. Of another process's the
kernel tells every process the time that is left on its keepalive timer, but not what it was set to. That timer runs
while nothing is in flight; as long as something is, such a socket looks as if it sent no probes.

Linux restarts the timer lazily: when it runs out, the next probe is due once the socket has heard nothing for as long
as it was set to, which may be later (net/ipv4/tcp_timer.c, tcp_keepalive_timer).
"""

from __future__ import annotations

import os
import socket
from contextlib import suppress

from relay.clock import real_s
from relay.errors import Unsupported
from relay.legs import PeerSocket
from relay.observe.kernel.ends import Ends
from relay.observe.kernel.sock_diag import SockDiag, SocketState

_PAUSE = 10  # times as long as looking at all descriptors has taken: until they are looked at again
_Socket = socket.socket  # programs put another in its place, PySocks and mocks among them


class PeerSockets:
    """Looks at the peers of a relay's sockets. Not for use by several threads at once."""

    def __init__(self) -> None:
        try:
            self._diag: SockDiag | None = SockDiag()
        except Unsupported:
            self._diag = None
        self._own: dict[int, int] = {}  # this process's sockets: descriptors by inode
        self._look_again_at_s = 0.0

    def look(self, ends: Ends | None) -> PeerSocket | None:
        """The peer's own socket; None if it is not on this host, or its end is over, or the kernel does not tell."""
        if self._diag is None or ends is None:
            return None
        try:
            state = self._diag.examine(ends.peer, ends.local)
        except OSError:
            return None
        if state is None:
            return None
        return self._look_at_own(state) or peer_socket(state)

    def close(self) -> None:
        if self._diag is not None:
            self._diag.close()

    def _look_at_own(self, state: SocketState) -> PeerSocket | None:
        """The same for a socket of this process; None if it is another's.

        With a default timeout Python would change the socket's flags as it makes an object of the descriptor.
        """
        if not state.inode or socket.getdefaulttimeout() is not None:
            return None
        if state.inode not in self._own and (began_s := real_s()) >= self._look_again_at_s:
            self._own = _own_sockets()
            now_s = real_s()
            self._look_again_at_s = now_s + _PAUSE * (now_s - began_s)
        if (descriptor := self._own.get(state.inode)) is None:
            return None
        try:
            with _Socket(fileno=os.dup(descriptor)) as sock:
                if os.fstat(sock.fileno()).st_ino != state.inode:  # closed meanwhile, and its number is another's
                    return None
                if not sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE):
                    return PeerSocket(state.unsent_bytes, None, None)
                idle_s = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE)
                interval_s = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL)
        except OSError:
            return None
        due_s = max(idle_s - state.silent_s, state.keepalive_timer_s or 0.0)
        return PeerSocket(state.unsent_bytes, due_s, float(max(idle_s, interval_s)))


def peer_socket(state: SocketState) -> PeerSocket:
    """What a socket's state tells of it, whichever process has it."""
    return PeerSocket(state.unsent_bytes, state.keepalive_timer_s, None)


def _own_sockets() -> dict[int, int]:
    found: dict[int, int] = {}
    with suppress(OSError):
        for name in os.listdir("/proc/self/fd"):
            with suppress(OSError):  # the listing's own
                found[os.fstat(int(name)).st_ino] = int(name)
    return found
