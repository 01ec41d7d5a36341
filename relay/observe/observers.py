"""The providers that were chosen, running: what they add to the legs of one relay."""

from __future__ import annotations

import socket
from collections.abc import Callable, Collection, Mapping
from contextlib import ExitStack

from relay.abilities import Ability, Want, tos_mask
from relay.legs import PeerSocket, Witness
from relay.observe._api import Provider
from relay.observe.kernel.ends import ends_of
from relay.observe.kernel.host import Host
from relay.observe.kernel.owner import Glimpse, owner_of
from relay.observe.kernel.peer_socket import PeerSockets
from relay.observe.kernel.syn import syn_of
from relay.observe.leg_watch import LegWatch, WatchedLeg, own_syn


class Observers:
    """Starts each provider once, however many wants it was chosen for.

    Raises:
        Unsupported: one that passed its self-test cannot be had any more.
    """

    def __init__(self, chosen: Mapping[Want, type[Provider]], host: Host) -> None:
        self._running: dict[type[Provider], Provider] = {}
        with ExitStack() as undo:
            for kind in dict.fromkeys(chosen.values()):
                self._running[kind] = kind(host)
                undo.callback(self._running[kind].close)
            self._undo = undo.pop_all()
        self._chosen = chosen
        self._glimpse = Glimpse()
        self._undo.callback(self._glimpse.close)
        self._peers = PeerSockets()
        self._undo.callback(self._peers.close)
        tos = self.of(Want(Ability.TOS))
        self._syn_of = tos.syn_of if tos is not None else syn_of
        # The last leg's wants, and what follows from them: those of a profile are one object.
        self._wants: Collection[Want] = ()
        self._mask = 0
        self._wanted: tuple[Provider, ...] = ()

    def of(self, want: Want) -> Provider | None:
        """What was chosen for a kind of want; None if nothing gives that here."""
        kind = self._chosen.get(want)
        return self._running[kind] if kind is not None else None

    def cover(self, listener: socket.socket, mask: int) -> None:
        """See a change in these bits of the TOS byte from the first segment of a listener's connections on."""
        for provider in self._running.values():
            provider.cover(listener, mask)

    def watch(self, leg: WatchedLeg, wants: Collection[Want], witness: Witness) -> LegWatch:
        """See on a leg what is wanted, as far as there are providers for it."""
        if leg.syn is None:
            leg.syn = self._syn_of(leg.sock) if leg.accepted else own_syn(leg.sock)
        if wants is not self._wants:
            self._select(wants)
        return LegWatch(leg, leg.syn, self._wanted, self._mask, witness)

    def blackhole(self, sock: socket.socket, on: bool) -> bool:
        """Have everything that comes for a socket dropped unseen, or no more; False where the host cannot."""
        provider = self.of(Want(Ability.BLACKHOLE))
        return provider is not None and provider.blackhole(sock, on)

    def vanish(self, sock: socket.socket) -> bool:
        """Have the kernel send nothing when the socket is closed; False where the host cannot."""
        provider = self.of(Want(Ability.STRAY_RESET))
        return provider is not None and provider.vanish(sock)

    def probe(self, sock: socket.socket, answered: Callable[[], None]) -> bool:
        """Have the socket's peer asked whether it is there; False where its answer is not seen."""
        provider = self.of(Want(Ability.PROBE))
        return provider is not None and provider.probe(sock, answered)

    def glimpse_process(self, sock: socket.socket) -> tuple[int, str] | None:
        """The same, if it is found at once."""
        process = self._glimpse.owner_of(sock)
        return (process.pid, process.name) if process is not None else None

    def find_process(self, sock: socket.socket) -> tuple[int, str] | None:
        """The process that has the peer's end of a connection on this host."""
        process = owner_of(sock)
        return (process.pid, process.name) if process is not None else None

    def look_at_peer(self, sock: socket.socket) -> PeerSocket | None:
        """The peer's own socket, if it is on this host."""
        return self._peers.look(ends_of(sock))

    def close(self) -> None:
        self._undo.close()

    def _select(self, wants: Collection[Want]) -> None:
        providers = {want.kind: self.of(want.kind) for want in wants}
        self._wants = wants
        attach = dict.fromkeys(each for each in providers.values() if each is not None)
        self._wanted = tuple(each for each in attach if type(each).attach is not Provider.attach)
        self._mask = tos_mask(wants) if providers.get(Want(Ability.TOS)) is not None else 0
