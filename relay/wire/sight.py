"""What a TCP of our own sees of the guest beside its bytes: TOS bytes, keepalive probes, and whose its end is."""

from __future__ import annotations

from collections.abc import Callable, Collection

from relay.abilities import Ability, Want, tos_mask
from relay.events import ProbeArrived, Side, TosChanged
from relay.legs import PeerSocket, Process, Witness
from relay.wire.ends import Ends
from relay.wire.running import RunningTcp, Wire
from relay.wire.segment import Segment
from relay.wire.tcp import Seen, Tcp

_SEEING_PROBES = frozenset({Ability.KEEPALIVE, Ability.KEEPALIVE_ANSWER, Ability.IDLENESS})


class SeeingTcp(RunningTcp):
    """Tells a witness what it wants to see; see `relay.legs.Leg.watch`."""

    __slots__ = ("_answered", "_probes_wanted", "_seen_tos", "_tos_wanted", "_witness", "closed", "side")

    def __init__(self, wire: Wire, tcp: Tcp, ends: Ends) -> None:
        super().__init__(wire, tcp, ends)
        self.side = Side.INTERNAL
        self.closed = False
        """Whether nothing more is to be reported."""
        self._witness: Witness | None = None
        self._tos_wanted = False
        self._probes_wanted = False
        self._answered: Callable[[], None] | None = None  # called when the guest answers our probe
        self._seen_tos = tcp.syn_tos

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

    def take_syn(self) -> None:
        """The guest has answered our SYN by its own: the TOS byte of that is the connection's."""
        self._seen_tos = self.tcp.syn_tos

    def _on_other_tos(self, segment: Segment) -> int:
        """Take in a segment whose TOS byte is not the one before's; return what the TCP has seen."""
        old, self._seen_tos = self._seen_tos, segment.tos
        seen = self.tcp.on_segment(segment, self.loop.now_s())
        withheld = seen & Seen.TOS != 0
        event = TosChanged(self.loop.nat.now_s(), self.side, self.tcp.syn_tos, old, segment.tos)
        if self._witness is not None:
            self._witness.on_leg_saw(event, withheld)
        if withheld and self._tos_wanted and not self.closed:
            seen |= self.tcp.let_through(self.loop.now_s())
        return seen

    def _on_probe(self, seen: int) -> None:
        """A probe has come, or the answer to ours."""
        if seen & Seen.ANSWERED and self._answered is not None:
            answered, self._answered = self._answered, None
            answered()
        if seen & Seen.PROBE and self._probes_wanted and self._witness is not None:
            event = ProbeArrived(self.loop.nat.now_s(), self.side, answered=not seen & Seen.PROBE_WAITS)
            self._witness.on_leg_saw(event, False)

    def probe(self, answered: Callable[[], None]) -> bool:
        self._answered = answered
        self.tcp.probe()
        self._emit()
        return True

    def answer_probe(self) -> None:
        if not self.closed:
            self.tcp.answer_probe()
            self._emit()

    def glimpse_process(self) -> Process | None:
        return self._wire.owners.glimpse(self.ends)

    def find_process(self) -> Process | None:
        return self._wire.owners.find(self.ends)

    def look_at_peer(self) -> PeerSocket | None:
        return self._wire.owners.look(self.ends)
