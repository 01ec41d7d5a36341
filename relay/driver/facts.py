"""What the providers see on a flow's internal leg, turned into events.

A provider that withholds segments calls when it has done so; one that must be asked is asked around every read and
write. Either way a TOS byte that changed is one event, and the rest of the flow need not know which way it was.
"""

from __future__ import annotations

import socket
from typing import Protocol

from relay.driver.journal import Journal
from relay.events import Event, ProbeArrived, Side, TosChanged
from relay.net.leg import Leg
from relay.observe import Observers, TosWatch, Watch


class FactOwner(Protocol):
    """The flow, as its facts see it."""

    def take(self, event: Event) -> None:
        """An event has happened."""

    def empty_internal(self) -> None:
        """What the internal side has sent so far is to be handed on before anything else."""

    def break_off(self, fault: Exception) -> None:
        """Something that a provider called has failed."""

    def now_s(self) -> float: ...


class InternalFacts:
    """The watches on one internal leg. `close` them before the leg is closed; nothing is reported after that."""

    __slots__ = ("_closed", "_journal", "_keepalive", "_owner", "_syn", "_tos", "_tos_watch")

    def __init__(
        self,
        owner: FactOwner,
        journal: Journal,
        observers: Observers,
        leg: Leg,
        mask: int,
        isn: int | None,
        *,
        accepted: bool,
    ) -> None:
        self._owner = owner
        self._journal = journal
        self._syn = self._tos = leg.syn_tos if leg.syn_tos is not None else 0  # nothing is compared with an unknown one
        self._tos_watch: TosWatch | None = None
        self._keepalive: Watch | None = None
        self._closed = False
        if observers.tos is not None and mask and not leg.syn_kept:
            journal.write("syn-unknown", side=Side.INTERNAL.value, reference=leg.syn_tos)
        if observers.tos is not None and mask and leg.syn_tos is not None:
            self._tos_watch = observers.tos.attach(
                leg.sock, syn_tos=leg.syn_tos, mask=mask, changed=self._on_withheld, accepted=accepted, isn=isn
            )
            if self._tos_watch is not None and self._tos_watch.asks:
                leg.ask_tos = self.ask
        if observers.keepalive is not None:
            self._keepalive = observers.keepalive.attach(leg.sock, self._on_probe)

    def ask(self) -> None:
        """Find out now whether the TOS byte has changed, if finding out takes asking."""
        watch = self._tos_watch
        if watch is not None and watch.asks and (new := watch.ask()) is not None:
            self._report(new)

    def let_go(self) -> None:
        """Have nothing withheld any more: the leg goes on to another flow, which may mind other things or nothing."""
        if self._tos_watch is not None:
            self._tos_watch.release()

    def close(self) -> None:
        self._closed = True
        for watch in (self._tos_watch, self._keepalive):
            if watch is not None:
                watch.close()
        self._tos_watch = self._keepalive = None

    def _on_withheld(self, new: int | None) -> None:
        try:
            if not self._closed:
                self._owner.empty_internal()
                self._report(new)
                if self._tos_watch is not None:  # nobody minded: let it through
                    self._tos_watch.release()
        except Exception as fault:
            self._owner.break_off(fault)

    def _on_probe(self) -> None:
        try:
            if not self._closed:
                self._owner.take(ProbeArrived(self._owner.now_s(), Side.INTERNAL))
                self.ask()  # a probe is a segment too
        except Exception as fault:
            self._owner.break_off(fault)

    def _report(self, new: int | None) -> None:
        old = self._tos
        if new == old:
            return
        if new is not None:
            self._tos = new
        self._journal.write_tos(self._syn, old, new)
        self._owner.take(TosChanged(self._owner.now_s(), Side.INTERNAL, self._syn, old, new))


def own_tos(sock: socket.socket) -> int:
    """The TOS byte that our own segments, the SYN among them, carry on this socket."""
    try:
        return sock.getsockopt(socket.IPPROTO_IP, socket.IP_TOS)
    except OSError:
        return 0  # an IPv6 socket
