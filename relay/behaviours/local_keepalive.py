"""Who answers the app's keepalive probes: the NAT, or the server."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from relay.abilities import Ability, Want
from relay.actions import AnswerProbe, Note, Probe, SetKeepalive
from relay.behaviours._api import Actions, Behaviour
from relay.events import DialSucceeded, ProbeAnswered, ProbeArrived, Side
from relay.settings import setting

_PROBE_IDLE_S = 1  # the least a kernel takes: the app has been silent for longer already
_PROBE_INTERVAL_S = 1
_BY_THE_NAT = "keepalive probe answered by the NAT, not the server"
_IN_PLACE_OF_THE_SERVER = (
    "keepalive probe answered by the relay's kernel, in place of the server; the relay probes the server itself, "
    "and does not know yet whether it answers"
)


@dataclass
class LocalKeepalive(Behaviour):
    """Answer keepalive probes from the app ourselves, so that a dead server looks alive indefinitely.

    With `answered_by = "server"` a probe makes us probe the server in turn, and the app is answered when the server
    answers: a dead one is silent, and the app counts its own probes. A host's kernel answers the app at once, whatever
    is wanted. There the server is probed until it is found dead; what the app then sees is `close-mapping`'s
    `timed_out` to say.

    Source: a keepalive client in a VMware Workstation guest, September 2017. Probes were answered with the server's
    address as source, and no probe reached the server. Parallels, by contrast, probes the server every 75 s.
    """

    answered_by: str = setting("nat", choices=("nat", "server"), doc="who answers the app's keepalive probes")
    external_interval_s: int = setting(
        0, low=0, high=32_767, doc="how often the relay sends the server keepalive probes of its own; 0 is never"
    )
    server_probes: int = setting(
        2,
        low=1,
        high=127,
        doc="with answered_by = server, where the relay's kernel answers the app: how many unanswered probes in a row "
        "make the server dead",
    )

    def __post_init__(self) -> None:
        self._probing = False

    def wants(self) -> Iterable[Want]:
        if self.answered_by == "nat":
            yield Want(Ability.KEEPALIVE_ANSWER, by="nat")
        else:
            yield from (Want(Ability.KEEPALIVE), Want(Ability.KEEPALIVE_ANSWER, by="server"))
            yield from (Want(Ability.PROBE, external=True), Want(Ability.BLACKHOLE))

    def on_dial_succeeded(self, event: DialSucceeded) -> Actions:
        if self.external_interval_s:
            yield SetKeepalive(Side.EXTERNAL, self.external_interval_s, self.external_interval_s, count=9)

    def on_probe_arrived(self, event: ProbeArrived) -> Actions:
        if event.side is not Side.INTERNAL:
            return
        if not event.answered:
            yield Probe(Side.EXTERNAL, self.server_probes)
            return
        yield Note(_BY_THE_NAT if self.answered_by == "nat" else _IN_PLACE_OF_THE_SERVER)
        if self.answered_by == "server" and not self._probing:
            self._probing = True
            yield SetKeepalive(Side.EXTERNAL, _PROBE_IDLE_S, _PROBE_INTERVAL_S, self.server_probes)

    def on_probe_answered(self, event: ProbeAnswered) -> Actions:
        if event.side is Side.EXTERNAL:
            yield AnswerProbe(Side.INTERNAL)
