"""What this host's providers add to a leg that is a kernel's socket; `relay.observe` has them."""

from __future__ import annotations

import socket
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Protocol

from relay.abilities import Want
from relay.legs import PeerSocket, Process, Witness

if TYPE_CHECKING:
    from relay.net.kernel_leg import KernelLeg


class Watch(Protocol):
    """Reports, on one leg, what its behaviours want to see."""

    def release(self) -> None:
        """Let through what is withheld, and withhold no more."""

    def close(self) -> None:
        """See nothing more."""


class Abilities(Protocol):
    """What this host's providers add to a kernel's socket."""

    def watch(self, leg: KernelLeg, wants: Collection[Want], witness: Witness) -> Watch:
        """As `Leg.watch`."""

    def blackhole(self, sock: socket.socket, on: bool) -> bool:
        """As `Leg.blackhole`."""

    def vanish(self, sock: socket.socket) -> bool:
        """Have the kernel send nothing when the socket is closed; False where the host cannot."""

    def probe(self, sock: socket.socket, answered: Callable[[], None]) -> bool:
        """As `Leg.probe`."""

    def glimpse_process(self, sock: socket.socket) -> Process | None:
        """As `Leg.glimpse_process`."""

    def find_process(self, sock: socket.socket) -> Process | None:
        """As `Leg.find_process`."""

    def look_at_peer(self, sock: socket.socket) -> PeerSocket | None:
        """As `Leg.look_at_peer`."""


class _NoAbilities:
    """A host without any provider."""

    def watch(self, leg: KernelLeg, wants: Collection[Want], witness: Witness) -> Watch:
        return self

    def blackhole(self, sock: socket.socket, on: bool) -> bool:
        return False

    def vanish(self, sock: socket.socket) -> bool:
        return False

    def probe(self, sock: socket.socket, answered: Callable[[], None]) -> bool:
        return False

    def glimpse_process(self, sock: socket.socket) -> Process | None:
        return None

    def find_process(self, sock: socket.socket) -> Process | None:
        return None

    def look_at_peer(self, sock: socket.socket) -> PeerSocket | None:
        return None

    def release(self) -> None:
        pass

    def close(self) -> None:
        pass


NO_ABILITIES: Abilities = _NoAbilities()
