"""What the providers see on one leg, turned into events.

A provider that withholds segments calls when it has done so; one that must be asked is asked around every read and
write. Either way a TOS byte that changed is one event.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Collection
from functools import cache
from typing import Protocol

from relay.abilities import Ability, Want, tos_mask
from relay.events import ProbeArrived, Side, SynUnknown, TosChanged
from relay.legs import Witness
from relay.observe._api import KeepaliveProvider, TosProvider, TosWatch, Watch
from relay.observe.kernel.syn import Syn

_PROBES = frozenset({Ability.KEEPALIVE, Ability.KEEPALIVE_ANSWER})


class Clock(Protocol):
    """A clock, in seconds."""

    def now_s(self) -> float: ...


class EventLoop(Protocol):
    """The loop that the leg runs on."""

    @property
    def nat(self) -> Clock:
        """The NAT's clock, by which events are dated."""

    def call_soon(self, callback: Callable[[], None]) -> None: ...


class WatchedLeg(Protocol):
    """A leg that is a kernel's socket, as far as it is watched."""

    sock: socket.socket
    side: Side
    accepted: bool
    """By a listener of ours; false for one that we dialled."""
    syn: Syn | None
    """What is known of its SYN, once that was asked for: the kernel tells it once."""
    ask_tos: Callable[[], None] | None
    """Called before every read and after every write."""

    @property
    def loop(self) -> EventLoop: ...


class LegWatch:
    """The watches on one leg. Nothing is told after `close`, which comes before the leg's own."""

    __slots__ = ("_closed", "_keepalive", "_leg", "_syn", "_tos", "_tos_watch", "_witness")

    def __init__(
        self,
        leg: WatchedLeg,
        tos: TosProvider | None,
        keepalive: KeepaliveProvider | None,
        wants: Collection[Want],
        witness: Witness,
    ) -> None:
        self._leg = leg
        self._witness = witness
        self._tos_watch: TosWatch | None = None
        self._keepalive: Watch | None = None
        self._closed = False
        self._syn = self._tos = 0
        mask = tos_mask(wants)
        if tos is not None and mask:
            self._watch_tos(tos, mask)
        if keepalive is not None and any(want.ability in _PROBES for want in wants):
            self._keepalive = keepalive.attach(leg.sock, self._on_probe)

    def _watch_tos(self, provider: TosProvider, mask: int) -> None:
        leg, syn = self._leg, self._leg.syn
        assert syn is not None  # noqa: S101 - it was asked for before the first watch
        if not syn.kept:
            leg.loop.call_soon(self._tell_unknown)
        if syn.tos is None:
            return  # nothing is compared with an unknown byte
        self._syn = self._tos = syn.tos
        self._tos_watch = provider.attach(
            leg.sock, syn_tos=syn.tos, mask=mask, changed=self._on_withheld, accepted=leg.accepted, isn=syn.isn
        )
        leg.syn = _without_isn(syn.tos, syn.kept)  # what came before this watch is of no concern to the next one
        if self._tos_watch is not None and self._tos_watch.asks:
            leg.ask_tos = self.ask

    def ask(self) -> None:
        """Find out now whether the TOS byte has changed, if finding out takes asking."""
        watch = self._tos_watch
        if watch is not None and watch.asks and (new := watch.ask()) is not None:
            self._report(new, withheld=False)

    def release(self) -> None:
        """Withhold nothing any more; the peer's retransmission is taken in."""
        if self._tos_watch is not None:
            self._tos_watch.release()

    def close(self) -> None:
        """Watch no more. What is withheld stays so, unless it was released before."""
        self._closed = True
        self._leg.ask_tos = None
        for watch in (self._tos_watch, self._keepalive):
            if watch is not None:
                watch.close()
        self._tos_watch = self._keepalive = None

    def _on_withheld(self, new: int | None) -> None:
        if not self._closed:
            self._report(new, withheld=True)
            self.release()  # unless that has closed the watch, no behaviour minds

    def _on_probe(self) -> None:
        if not self._closed:
            self._witness.on_leg_saw(ProbeArrived(self._leg.loop.nat.now_s(), self._leg.side), False)
            self.ask()  # a probe is a segment too

    def _tell_unknown(self) -> None:
        syn = self._leg.syn
        if not self._closed and syn is not None:
            self._witness.on_leg_saw(SynUnknown(self._leg.loop.nat.now_s(), self._leg.side, syn.tos), False)

    def _report(self, new: int | None, *, withheld: bool) -> None:
        old = self._tos
        if new == old:
            return
        if new is not None:
            self._tos = new
        event = TosChanged(self._leg.loop.nat.now_s(), self._leg.side, self._syn, old, new)
        self._witness.on_leg_saw(event, withheld)


@cache
def _without_isn(tos: int, kept: bool) -> Syn:
    return Syn(tos, kept=kept)  # one for all connections that are alike: an idle flow is to be small


def own_syn(dialled: socket.socket) -> Syn:
    """What our own segments, the SYN among them, carry on a socket that we dialled with."""
    try:
        return Syn(dialled.getsockopt(socket.IPPROTO_IP, socket.IP_TOS))
    except OSError:
        return Syn(0)  # an IPv6 socket
