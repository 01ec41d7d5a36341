"""What a behaviour can ask for, as frozen values.

Actions are requests: the flow machine drops those that come too late (a FIN on a side that was reset), merges those
that agree, keeps the stronger of those that do not (RST over FIN), and notes which behaviour made each request.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from relay.deprecation import former_names
from relay.events import DialFailure, Side
from relay.shape import Shape

Counts: TypeAlias = Literal["data", "segments"]
"""What is traffic: bytes alone, or keepalive probes as well."""
Then: TypeAlias = Literal["silence", "reset"]
"""What the segments of a side that was forgotten get: no answer, or RST."""
Per: TypeAlias = Literal["relay", "destination"]
"""What a pool of slots is for: all flows of the relay, or those to one destination, as it was asked for."""


@dataclass(frozen=True, slots=True)
class Action:
    """Something to be done to one flow."""


@dataclass(frozen=True, slots=True)
class SideAction(Action):
    """Something to be done to one side of it; dropped where that side is over, or not connected yet."""

    side: Side


@dataclass(frozen=True, slots=True)
class Dial(Action):
    """Open the connection to the destination."""


@dataclass(frozen=True, slots=True)
class DelayDial(Action):
    """Have the `Dial` of the same answer wait for `by_s` seconds; several delays add up."""

    by_s: float


@dataclass(frozen=True, slots=True)
class AbandonDial(Action):
    """Give up the dial that is under way; the destination sees no connection, or a reset one.

    A dial that the same answer asks for is not begun.
    """


@dataclass(frozen=True, slots=True)
class Grant(Action):
    """Tell the initiator that it is connected."""


@dataclass(frozen=True, slots=True)
class Refuse(Action):
    """Tell the initiator, in its protocol's words, why it is not connected.

    With `instead` it takes the place of any other refusal, and of a grant, in the same answer.
    """

    failure: DialFailure
    instead: bool = False


@dataclass(frozen=True, slots=True)
class Ignore(Action):
    """Leave the initiator's request without an answer, for `at_most_s` seconds, then reset it.

    It takes the place of a refusal or a grant in the same answer. Where initiators have connected already (a proxy, a
    forward) what they send is not read; a SYN on a link gets nothing, nor does any that repeats it: but with `once`
    each of those asks anew.
    """

    at_most_s: float
    once: bool = False


@dataclass(frozen=True, slots=True)
class SendFin(SideAction):
    """End the stream toward `side`, after everything still on its way there. Half-close: it may go on sending."""


@dataclass(frozen=True, slots=True)
class SendRst(SideAction):
    """Reset the connection to `side`: at once, or after the bytes that are still on their way there."""

    after_data: bool = False


@dataclass(frozen=True, slots=True)
class SetKeepalive(SideAction):
    """Have keepalive probes sent to `side` when it has been silent for `idle_s`, one every `interval_s`.

    With `count` unanswered ones the side is dead (`LegTimedOut`). Whole seconds, as kernels count them.
    """

    idle_s: int
    interval_s: int
    count: int


@dataclass(frozen=True, slots=True)
class Probe(SideAction):
    """Ask `side` by one keepalive probe whether it is there: `ProbeAnswered` says that it is.

    A kernel sends the probe once the side has been silent for a second. Where the host does not see an answer (see
    `Ability.PROBE`) it is taken for granted, and the side is probed on until `count` in a row are unanswered.
    """

    count: int


@dataclass(frozen=True, slots=True)
class AnswerProbe(SideAction):
    """Answer the keepalive probe of `side` that was not answered as it came (`ProbeArrived.answered`)."""


@dataclass(frozen=True, slots=True)
class Blackhole(SideAction):
    """Leave everything that `side` sends from now on without an answer, for `at_most_s` seconds, then reset it.

    Where the host cannot (see `Ability.BLACKHOLE`) the side is reset at once.
    """

    at_most_s: float


@dataclass(frozen=True, slots=True)
class Forget(SideAction):
    """Drop the connection to `side` silently, as a NAT drops a mapping; nothing is sent now.

    With `then` of `silence` whatever that side sends gets no answer, for `at_most_s` seconds; then it is reset. With
    `reset` its next segment is answered with RST: a peer that only reads never hears of it. See `Ability.SILENCE` and
    `Ability.STRAY_RESET` for hosts that cannot.
    """

    then: Then
    at_most_s: float


@dataclass(frozen=True, slots=True)
class Close(SideAction):
    """Close the connection to `side` as a program closes its socket: FIN now, RST to what that side sends later.

    A side whose bytes were not all read gets RST at once.
    """


@dataclass(frozen=True, slots=True)
class LimitWindow(SideAction):
    """Acknowledge at most about `size_bytes` from `side` that the other side has not taken yet."""

    size_bytes: int


@dataclass(frozen=True, slots=True)
class SetShape(SideAction):
    """Delay, slow down or cut up what goes to `side` from now on; a plain `Shape` ends that.

    Each behaviour has a shape of its own; together they make one (`Shape.combined`). For flows that are connected.
    """

    shape: Shape


@dataclass(frozen=True, slots=True)
class ReportLoss(Action):
    """Say in the event log that `count_bytes` were acknowledged to one side and never reached the other."""

    count_bytes: int


@dataclass(frozen=True, slots=True)
class StartTimer(Action):
    """Call `on_timer_fired` with this key in `after_s` seconds; a timer of the same key starts anew."""

    key: str
    after_s: float


@dataclass(frozen=True, slots=True)
class WatchIdle(Action):
    """Call `on_went_idle` with this key once there was no traffic for `after_s` seconds, from now on; once.

    A watch of the same key starts anew. `counts` says what traffic is, `of` whose: None is either side's. Bytes that
    wait for a peer to take them are traffic as long as they move. With `sweep_s` the watch is looked at only at
    multiples of that time, so it ends up to `sweep_s` later. For flows that are connected.
    """

    key: str
    after_s: float
    counts: Counts = "data"
    of: Side | None = None
    sweep_s: float = 0.0


@dataclass(frozen=True, slots=True)
class CountRequests(Action):
    """Call `on_request_began` at each request of the initiator's from now on. For flows that are connected."""


@dataclass(frozen=True, slots=True)
class TakeSlot(Action):
    """Take one of the `limit` slots of a pool; whatever else was asked for in the same answer waits for it.

    `SlotTaken` follows at once, then all that has waited; or, where no slot is free, `SlotDenied`, and what has waited
    is dropped. With `wait` there is no `SlotDenied`: the flow has its turn when a slot is given back, in the order of
    those that wait. A pool is this behaviour's, by its name. A flow has one slot of a pool, and gives it back when it
    ends, in whatever way, unless it did with `GiveSlot`. With `--workers` each worker has its part of `limit`.
    """

    pool: str
    limit: int
    per: Per = "relay"
    wait: bool = False


@dataclass(frozen=True, slots=True)
class GiveSlot(Action):
    """Give a slot back in `after_s` seconds, also if the flow ends before; infinity: never, it is lost to the pool."""

    pool: str
    after_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Note(Action):
    """Say something about the flow in the event log."""

    text: str


if not TYPE_CHECKING:
    __getattr__ = former_names(
        __name__, {"Deafen": "Blackhole", "LimitBuffer": "LimitWindow", "SendProbes": "SetKeepalive"}
    )
