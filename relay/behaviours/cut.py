"""A connection that is cut in its midst."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from relay.abilities import Ability, Want
from relay.actions import Close, CountRequests, Note, SendRst, SetShape, StartTimer
from relay.behaviours._api import Actions, Behaviour, Conflict
from relay.behaviours._directions import direction_setting, shaped, sides
from relay.events import DialSucceeded, LimitReached, RequestBegan, Side, TimerFired
from relay.settings import setting
from relay.shape import Shape

_STALLED = Shape(stall=True)


@dataclass(frozen=True)
class Cut(Behaviour):
    """Cut a connection after some bytes, after some time or at its nth request, whichever comes first.

    A request is what the initiator sends until the other side sends something. The request at which the connection is
    cut has reached the server, at least in part; nothing of its answer passes.

    Source: none, for it is a fault made on purpose.
    """

    after_bytes: int = setting(0, low=0, high=10**15, doc="how many bytes pass before the cut; 0: not by bytes")
    direction: str = direction_setting("to-app")
    after_s: float = setting(0.0, low=0, high=31_536_000, doc="how old the connection gets, in s; 0: not by its age")
    at_request: int = setting(0, low=0, high=10**9, doc="at which request, counted from 1; 0: at none")
    how: str = setting(
        "rst",
        choices=("rst", "fin", "stall"),
        doc="what both sides get: RST, FIN, or nothing: they stay connected, and nothing passes any more",
    )

    def wants(self) -> Iterable[Want]:
        if self.how != "stall":
            yield Want(Ability.CLOSE)

    def conflict(self, beside: Mapping[str, Behaviour]) -> Conflict | None:
        if self.after_bytes or self.after_s or self.at_request:
            return None
        return Conflict("nothing says when it cuts", "set after_bytes, after_s or at_request of cut")

    def on_dial_succeeded(self, event: DialSucceeded) -> Actions:
        if self.after_bytes:
            yield from shaped(self.direction, Shape(limit_bytes=self.after_bytes))
        if self.after_s:
            yield StartTimer("old", self.after_s)
        if self.at_request:
            yield CountRequests()

    def on_limit_reached(self, event: LimitReached) -> Actions:
        if event.limit_bytes == self.after_bytes and event.side in sides(self.direction):
            yield from self._cut(f"after {self.after_bytes} bytes")

    def on_timer_fired(self, event: TimerFired) -> Actions:
        yield from self._cut(f"after {self.after_s:g} s")

    def on_request_began(self, event: RequestBegan) -> Actions:
        if event.number == self.at_request:
            yield from self._cut(f"at request {event.number}")

    def _cut(self, when: str) -> Actions:
        yield Note(f"{self.how} {when}")
        for side in Side:
            match self.how:
                case "stall":
                    yield SetShape(side, _STALLED)
                case "fin":
                    yield Close(side)
                case _:
                    yield SendRst(side)
