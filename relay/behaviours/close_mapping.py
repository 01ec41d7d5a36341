"""What the end of one side becomes on the other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from relay.abilities import Ability, Want
from relay.actions import Action, Blackhole, SendFin, SendRst
from relay.behaviours._api import Actions, Behaviour
from relay.events import FinReceived, LegTimedOut, RstReceived, Side
from relay.settings import setting


@dataclass(frozen=True)
class CloseMapping(Behaviour):
    """Turn FIN, RST and silence on one side into their like, or something else, on the other.

    The defaults carry everything over as it came. A reset follows the bytes that preceded it.

    Source: VMware Fusion 11, May 2019: the guest's RST in frame 38 (sequence 2642) became a FIN to the server
    (sequence 2642) 2.5 ms later. No trace shows a half-close; it is assumed to pass.
    """

    indispensable = True

    internal_rst: str = setting("rst", choices=("rst", "fin"), doc="what the server gets when the app resets")
    external_rst: str = setting("rst", choices=("rst", "fin"), doc="what the app gets when the server resets")
    half_close: str = setting(
        "pass", choices=("pass", "close"), doc="pass: a FIN ends one direction; close: it ends the connection"
    )
    timed_out: str = setting(
        "rst",
        choices=("rst", "silence"),
        doc="what the app gets when the server is found dead: a reset, or no answer any more",
    )
    silence_s: int = setting(900, low=1, high=86_400, doc="how long the silence lasts before the app is reset")

    def wants(self) -> Iterable[Want]:
        yield from super().wants()
        if self.timed_out == "silence":
            yield Want(Ability.BLACKHOLE)

    def in_short(self) -> Mapping[str, str]:
        return {
            "half-close": "kept" if self.half_close == "pass" else "lost",
            "RST": f"{self.internal_rst}/{self.external_rst}".upper(),
        }

    def on_fin_received(self, event: FinReceived) -> Actions:
        yield SendFin(event.side.other)
        if self.half_close == "close":
            yield SendFin(event.side)

    def on_rst_received(self, event: RstReceived) -> Actions:
        yield self._end(event.side.other, self.internal_rst if event.side is Side.INTERNAL else self.external_rst)

    def on_leg_timed_out(self, event: LegTimedOut) -> Actions:
        if self.timed_out == "silence":
            yield Blackhole(event.side.other, at_most_s=self.silence_s)
        else:
            yield SendRst(event.side.other, after_data=True)

    def _end(self, side: Side, how: str) -> Action:
        return SendFin(side) if how == "fin" else SendRst(side, after_data=True)
