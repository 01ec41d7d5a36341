"""Waits for a peer to connect, as SOCKS's BIND asks: a listener, on a port that the host picks, for one connection."""

from __future__ import annotations

import socket
from collections.abc import Callable, Collection
from contextlib import suppress

from relay.address import Endpoint
from relay.events import Side
from relay.loop.engine import Engine
from relay.net.abilities import Abilities
from relay.net.kernel_leg import KernelLeg
from relay.net.listen import Listener, open_listener


class PeerWait:
    """Calls `connected` once with the leg of the peer that has connected; every other is reset, and `foreign` called.

    It waits until it is closed, without a limit of its own.
    """

    def __init__(
        self,
        engine: Engine,
        bind_host: str,
        peer_hosts: Collection[str],
        abilities: Abilities,
        connected: Callable[[KernelLeg], None],
        foreign: Callable[[Endpoint], None],
    ) -> None:
        """Listen at `bind_host` for a connection from one of these hosts.

        Raises:
            ConfigError: nothing can listen there.
        """
        self._engine = engine
        self._peer_hosts = frozenset(peer_hosts)
        self._abilities = abilities
        self._connected = connected
        self._foreign = foreign
        sock = open_listener(Endpoint(bind_host, 0), where="bind")
        self._listener = Listener(engine, sock, self._take, resting=lambda reason: None, resumed=lambda: None)
        self.address = self._listener.address
        """Where the peer is to connect to."""

    def close(self) -> None:
        """Wait no more; harmless when repeated."""
        self._listener.close()

    def _take(self, sock: socket.socket) -> None:
        leg = KernelLeg(self._engine, sock, Side.EXTERNAL, abilities=self._abilities, accepted=True)
        peer = leg.peer
        if peer is None:
            leg.close()  # it has gone again
        elif peer.host not in self._peer_hosts:
            leg.reset()
            self._foreign(peer)
        else:
            self.close()
            self._connected(leg)


def address_toward(peer_host: str, local_host: str, source: str | None) -> str:
    """The address of this host's at which a peer is to reach a client that has come to `local_host`.

    A client that has come by loopback has its peer come by loopback, too: what listens on loopback alone opens nothing
    to other hosts. For another it is `source`, or the address by which this host sends to the peer.
    """
    is_ipv6 = ":" in peer_host
    if Endpoint(local_host, 0).is_loopback:
        return "::1" if is_ipv6 else "127.0.0.1"
    if source is not None and (":" in source) == is_ipv6:
        return source
    with suppress(OSError), socket.socket(socket.AF_INET6 if is_ipv6 else socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.connect((peer_host, 9))  # which sends nothing
        return str(asking.getsockname()[0])
    return local_host
