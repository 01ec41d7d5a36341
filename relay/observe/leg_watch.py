"""What the providers see on one leg, turned into events.

A provider that withholds segments calls when it has done so; one that must be asked is asked around every read and
write. Either way a TOS byte that changed is one event.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from functools import cache
from typing import Protocol

from relay.events import ProbeArrived, Side, SynUnknown, TosChanged
from relay.legs import Witness
from relay.observe._api import Provider, Target, Watch, Watcher
from relay.observe.kernel.syn import Syn


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


class LegWatch(Watcher):
    """The watches on one leg. They report nothing after `close`, which comes before the leg's own."""

    __slots__ = ("_closed", "_leg", "_syn_tos", "_tos", "_watches", "_witness")

    def __init__(
        self,
        leg: WatchedLeg,
        syn: Syn,
        providers: Sequence[Provider],
        mask: int,
        witness: Witness,
    ) -> None:
        """Tell the witness what is seen.

        A change in the bits of `mask` is looked for: none if it is 0, or if the SYN's byte is not known.
        """
        self._leg = leg
        self._witness = witness
        self._closed = False
        self._syn_tos = self._tos = syn.tos or 0
        reference = syn.tos if mask else None
        target = Target(leg.sock, reference, mask, self, leg.accepted, syn.isn)
        watches = []
        for provider in providers:
            watch = provider.attach(target)
            if watch is not None:
                watches.append(watch)
                if watch.asks:
                    leg.ask_tos = self.ask
        self._watches: tuple[Watch, ...] = tuple(watches)
        if mask and not syn.kept:
            leg.loop.call_soon(self._tell_unknown)
        if reference is not None:
            # The next watch on this leg does not count what came before this one.
            leg.syn = _without_isn(reference, syn.kept)

    def ask(self) -> None:
        """Find out now whether the TOS byte has changed, if finding out takes asking."""
        for watch in self._watches:
            if watch.asks and (new := watch.ask()) is not None:
                self._report(new, withheld=False)

    def release(self) -> None:
        """Withhold nothing any more; the peer's retransmission is taken in."""
        for watch in self._watches:
            watch.release()

    def close(self) -> None:
        """Watch no more. What is withheld stays so, unless it was released before."""
        self._closed = True
        self._leg.ask_tos = None
        for watch in self._watches:
            watch.close()
        self._watches = ()

    def on_tos(self, tos: int | None) -> None:
        if not self._closed:
            self._report(tos, withheld=True)
            self.release()  # no behaviour has acted on it, or the watch would be closed

    def on_probe(self) -> None:
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
        event = TosChanged(self._leg.loop.nat.now_s(), self._leg.side, self._syn_tos, old, new)
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
