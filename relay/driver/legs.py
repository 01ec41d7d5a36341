"""A flow's legs, and everything that behaviours and testers may have done to one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from relay.actions import Probe, SetKeepalive, Then
from relay.causes import Cause, How
from relay.driver.flow_log import FlowLog
from relay.events import Ending, LegTimedOut, RstReceived, Side
from relay.legs import Leg
from relay.legs.ending import wind_down
from relay.legs.forgotten import fall_silent, is_forgotten, reset_on_next
from relay.loop.engine import Engine
from relay.shape import PLAIN, Shape

_INTERNAL = Side.INTERNAL  # Python 3.11 takes 60 ns longer for a member than for a global, and this is asked often
_RESET_BY_PEER = (How.RST, Cause.PEER)
_ENDED_IN_ITS_OWN_WAY = frozenset({How.RST, How.SILENCE, How.FORGOTTEN})
_PROBE_S = 1  # between probes whose answers are not seen: the least a kernel takes


class FlowLegs:
    """The one or two legs of a flow, by side."""

    __slots__ = ("_engine", "_external", "_frozen_at_s", "_internal", "_keepalives", "_log", "_shapes")

    def __init__(self, engine: Engine, log: FlowLog) -> None:
        self._engine = engine
        self._log = log
        self._internal: Leg | None = None
        self._external: Leg | None = None
        self._keepalives: dict[Side, SetKeepalive] | None = None
        self._frozen_at_s: dict[Side, float] | None = None  # few flows ever have any
        self._shapes: dict[Side, dict[str, Shape]] | None = None

    def __iter__(self) -> Iterator[Leg]:
        return (leg for leg in (self._internal, self._external) if leg is not None)

    def __getitem__(self, side: Side) -> Leg:
        leg = self._internal if side is _INTERNAL else self._external
        if leg is None:
            raise KeyError(side)
        return leg

    def get(self, side: Side) -> Leg | None:
        """The side's leg, if there is one yet."""
        return self._internal if side is _INTERNAL else self._external

    def add(self, leg: Leg) -> None:
        """Take in a leg."""
        if leg.side is _INTERNAL:
            self._internal = leg
        else:
            self._external = leg

    def give_away(self, side: Side) -> Leg:
        """Take a leg out, for another flow to go on with."""
        leg = self[side]
        if side is _INTERNAL:
            self._internal = None
        else:
            self._external = None
        return leg

    @property
    def keepalives(self) -> Iterable[SetKeepalive]:
        """The keepalive probes that the sides are sent."""
        return (self._keepalives or {}).values()

    # What behaviours ask for

    def set_keepalive(self, keepalive: SetKeepalive) -> None:
        """Have keepalive probes sent to a side."""
        self._keepalives = {**(self._keepalives or {}), keepalive.side: keepalive}
        idle_s, interval_s = self._probe_times(keepalive)
        self[keepalive.side].set_keepalive(idle_s, interval_s, keepalive.count)

    def probe(self, action: Probe, answered: Callable[[], None]) -> None:
        """Have one keepalive probe sent to a side. One that is frozen is not asked: it would answer."""
        leg = self[action.side]
        if leg.frozen or leg.probe(answered):
            return
        keepalive = SetKeepalive(action.side, _PROBE_S, _PROBE_S, action.count)
        if (self._keepalives or {}).get(action.side) != keepalive:
            self.set_keepalive(keepalive)
        self._engine.call_soon(answered)

    def reset(self, leg: Leg, because: str, *, after_data: bool) -> None:
        """Send RST: at once, or when the peer has all that was written."""
        self._log.write("rst-sent", side=leg.side.value, because=because)
        if after_data:
            leg.reset_after_data()
        else:
            leg.reset()

    def blackhole(self, leg: Leg, at_most_s: float, because: str) -> None:
        """Leave what a peer sends unanswered for `at_most_s`, then reset it; reset it at once where the leg cannot."""
        if leg.blackhole(True):
            self._log.write("blackholed", side=leg.side.value, because=because)
            self._engine.nat.call_later(at_most_s, leg.reset)
        else:
            self.reset(leg, because, after_data=True)

    def forget(self, leg: Leg, then: Then, at_most_s: float, because: str) -> None:
        """Drop the connection and send nothing; reset it if it still exists `at_most_s` seconds later."""
        self._log.write("forgotten", side=leg.side.value, then=then, because=because)
        (fall_silent if then == "silence" else reset_on_next)(leg)
        if not leg.closed:
            self._engine.nat.call_later(at_most_s, leg.reset)

    def ignore(self, leg: Leg, at_most_s: float, because: str) -> None:
        """Leave an initiator's request unanswered for `at_most_s` seconds, then reset it."""
        if leg.closed:  # a SYN on a link: there is no connection
            self._log.write("forgotten", side=leg.side.value, then="silence", because=because)
        else:
            self.forget(leg, "silence", at_most_s, because)

    def close(self, leg: Leg, because: str) -> None:
        """Close it as a program closes its socket; what its kernel has not taken yet goes before."""
        self._log.write("fin-sent", side=leg.side.value, because=because)
        if leg.has_unsent:
            wind_down(leg)
        else:
            leg.close()

    def silence_s(self, side: Side) -> float | None:
        """When a frozen side counts as dead by the probes that it is sent, in seconds of the NAT's clock from now.

        None if there are none. Where its kernel cannot be made to drop them, it may answer them. The first is due when
        the side has been silent for `idle_s`, and its silence began when it was frozen.
        """
        frozen_at_s, keepalive = (self._frozen_at_s or {}).get(side), (self._keepalives or {}).get(side)
        if frozen_at_s is None or keepalive is None:
            return None
        idle_s, interval_s = self._probe_times(keepalive)
        real_s = max(0.0, frozen_at_s + idle_s - self._engine.now_s()) + interval_s * keepalive.count
        return real_s * self._engine.nat.scale

    def _probe_times(self, keepalive: SetKeepalive) -> tuple[int, int]:
        scale = self._engine.nat.scale  # the probes are the kernel's, which has the real clock
        idle_s, interval_s = (max(1, round(wait_s / scale)) for wait_s in (keepalive.idle_s, keepalive.interval_s))
        return idle_s, interval_s

    def combine_shape(self, side: Side, shape: Shape, because: str) -> Shape:
        """Take note of a behaviour's shape for what goes to a side; return what all of them come to."""
        of_side = dict((self._shapes or {}).get(side, {}))
        if self._log.wanted and shape != of_side.get(because, PLAIN):
            self._log.write("shape-changed", side=side.value, effects=shape.effects, because=because)
        of_side[because] = shape
        if shape.is_plain:
            del of_side[because]
        self._shapes = {**(self._shapes or {}), side: of_side}
        return Shape.combined(of_side.values())

    def has_shape(self, side: Side) -> bool:
        """Whether a behaviour has shaped what goes to a side."""
        return self._shapes is not None and side in self._shapes

    # What commands ask for

    def freeze(self, side: Side) -> None:
        """Neither read nor write this side; where the host can, its kernel answers nothing either."""
        leg = self.get(side)
        if leg is not None and not is_forgotten(leg):
            self._frozen_at_s = {**(self._frozen_at_s or {}), side: self._engine.now_s()}
            leg.freeze()
            if side is not _INTERNAL:  # that one's socket may have its provider's filter
                leg.blackhole(True)

    def thaw(self, side: Side) -> None:
        """Go on where `freeze` stopped."""
        leg = self.get(side)
        if leg is not None and not is_forgotten(leg):
            if self._frozen_at_s is not None:
                self._frozen_at_s.pop(side, None)
            if side is not _INTERNAL:
                leg.blackhole(False)
            leg.thaw()

    # How they end

    def unwatch(self, side: Side) -> None:
        """The flow wants to see nothing more of a side."""
        leg = self.get(side)
        if leg is not None and not is_forgotten(leg):
            leg.unwatch()

    def what_broke(self, leg: Leg, now_s: float) -> RstReceived | LegTimedOut:
        """The event that a broken leg is, with what was accepted for its side and never acknowledged by it."""
        unacked_bytes = self[leg.side].unacked_bytes()
        other = self.get(leg.side.other)
        if other is not None and not other.closed:
            unacked_bytes += other.unread_bytes()
        return (LegTimedOut if leg.timed_out else RstReceived)(now_s, leg.side, unacked_bytes)

    def wind_down(self, endings: Mapping[Side, Ending]) -> None:
        """The flow is over: end in order what no behaviour has ended, or is ending, in its own way."""
        for leg in (self._internal, self._external):
            if leg is None or leg.closed:
                continue
            ending = endings.get(leg.side)
            if ending is not None and (ending.how, ending.because) == _RESET_BY_PEER:
                leg.close()  # nothing can pass any more, and nothing else holds it
            elif ending is None or ending.how not in _ENDED_IN_ITS_OWN_WAY:
                wind_down(leg)
