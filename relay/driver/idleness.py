"""How long a flow has had no traffic, for the watches that its behaviours have asked for.

Traffic costs one store for each run of a pump; a flow without a watch, and a byte, cost nothing. A watch is a timer:
when it is due it compares, and starts anew for what is left. So a watch ends to the moment, without a sweep.

Bytes that were carried may wait in the kernel for a peer that reads slowly. As long as any do, its TCP sends them
again or probes the window, so where segments count the flow is not idle. Where data count, it is not idle as long as
their number changes; the kernel is asked eight times in `after_s`. Right after traffic a few bytes prove nothing: the
peer delays its ACK.

While the relay itself stands still (a paused container) no flow's time passes, for its peers may stand still as well:
a watch that is due late goes on for as long as it was late.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from relay.abilities import Ability, Want
from relay.actions import WatchIdle
from relay.driver.presuming import Probes, tell_unseen
from relay.events import Side, WentIdle

if TYPE_CHECKING:
    from relay.driver.flow import Flow

_SEGMENTS = (Want(Ability.IDLENESS, by="segments"),)
_LOOKS = 8
_ACK_WITHIN_S = 0.25  # real; Linux delays an ACK by 40 to 200 ms
_FEW_BYTES = 64 * 1024
_LATE_S = 0.2  # real; more than a busy host holds a timer up

_NONE: Mapping[Side, Probes] = MappingProxyType({})  # one for all flows: an idle one is to be small


def watch_idle(flow: Flow, name: str, action: WatchIdle) -> None:
    """Give the flow's machine a `WentIdle` of this name once there was no traffic for the `after_s` of this watch."""
    if flow.idleness is None:
        flow.idleness = Idleness(flow, flow.saw_data)
        flow.saw_data = flow.idleness.saw_data
    if action.counts == "segments" and not flow.idleness.listens:
        flow.idleness.listens = True
        flow.legs[Side.EXTERNAL].watch(_SEGMENTS, flow)
    flow.idleness.watch(name, action)


class Idleness:
    """One flow's watches."""

    __slots__ = (
        "_began_s",
        "_beside",
        "_carried_s",
        "_data_s",
        "_flow",
        "_left",
        "_left_at_s",
        "_presumed",
        "_probe_s",
        "listens",
        "unseen",
    )

    def __init__(self, flow: Flow, beside: Callable[[Side], None] | None = None) -> None:
        """`beside` is called for the bytes that are carried, too, and last."""
        self._flow = flow
        self._beside = beside
        self._data_s = dict.fromkeys(Side, -math.inf)
        self._probe_s = dict.fromkeys(Side, -math.inf)
        self._carried_s = -math.inf  # on the real clock
        self._began_s = flow.driver.engine.now_s()  # on the real clock
        self._presumed: dict[Side, Probes] | None = None  # while the NAT's clock is moved on
        self._left: Mapping[Side, Probes] = _NONE  # of them, when that was over
        self._left_at_s = -math.inf  # on the real clock
        self.unseen = False
        """Whether the clock is moved on, and the app may send probes that this host cannot know of."""
        self.listens = False
        """Whether the external leg was asked for the segments without bytes; the internal one is from the beginning."""

    def saw_data(self, side: Side) -> None:
        """Bytes of this side's were carried."""
        self._data_s[side] = self._flow.now_s()
        self._carried_s = self._flow.driver.engine.now_s()
        if self._beside is not None:
            self._beside(side)

    def saw_probe(self, side: Side) -> None:
        """A segment of this side's came that has no bytes."""
        self._probe_s[side] = self._flow.now_s()

    @property
    def lasts_s(self) -> float:
        """For how long the flow has been connected, in real seconds."""
        return self._flow.driver.engine.now_s() - self._began_s

    def presume(self, side: Side, probes: Probes) -> Probes:
        """Count these probes as traffic of this side, each at its moment; returns those that count.

        The last advance may have left a probe to come. If nothing was carried since, these begin with that probe.
        """
        if side in self._left and self._carried_s <= self._left_at_s:
            next_s = max(self._left[side].first_s, self._flow.now_s())
            probes = probes._replace(first_s=min(probes.first_s, next_s))
        self._presumed = {**(self._presumed or {}), side: probes}
        return probes

    def presume_no_more(self) -> None:
        """From now on only probes that come count."""
        self.unseen = False
        if self._presumed is not None:
            now_s = self._flow.now_s()
            for side, probes in self._presumed.items():
                self._probe_s[side] = max(self._probe_s[side], probes.last_s(now_s))
            self._left = {side: probes.after(now_s) for side, probes in self._presumed.items()}
            self._left_at_s = self._flow.driver.engine.now_s()
            self._presumed = None

    def watch(self, name: str, action: WatchIdle) -> None:
        """Begin a watch, in place of one that has this name."""
        _Watch(self._flow, self, name, action).wait()

    def waiting_bytes(self) -> int:
        """How many bytes that were carried wait for a peer to take them."""
        waiting_bytes = self._flow.waiting_bytes
        is_recent = self._flow.driver.engine.now_s() < self._carried_s + _ACK_WITHIN_S
        return 0 if is_recent and waiting_bytes < _FEW_BYTES else waiting_bytes

    def last_s(self, action: WatchIdle) -> float:
        """When there was traffic that counts for a watch."""
        sides = Side if action.of is None else (action.of,)
        last_s = max(self._data_s[side] for side in sides)
        if action.counts != "segments":
            return last_s
        presumed, now_s = self._presumed or {}, self._flow.now_s()
        last_presumed_s = (probes.last_s(now_s) for side, probes in presumed.items() if side in sides)
        return max(last_s, *(self._probe_s[side] for side in sides), *last_presumed_s)


class _Watch:
    """One watch, and when it is due."""

    __slots__ = ("_action", "_due_s", "_flow", "_idleness", "_name", "_since_s", "_waiting_bytes")

    def __init__(self, flow: Flow, idleness: Idleness, name: str, action: WatchIdle) -> None:
        self._flow = flow
        self._idleness = idleness
        self._name = name
        self._action = action
        self._since_s = flow.now_s()
        self._waiting_bytes = 0
        self._due_s = 0.0

    def wait(self, look_s: float = math.inf) -> None:
        """Look again when the time is up, or at `look_s` if that is sooner."""
        due_s, sweep_s = self._since_s + self._action.after_s, self._action.sweep_s
        if sweep_s:
            due_s = math.ceil(due_s / sweep_s) * sweep_s
        self._due_s = min(due_s, look_s)
        delay_s = max(0.0, self._due_s - self._flow.now_s())
        self._flow.start_nat_timer(f"idle {self._name}", delay_s, self._look)

    def _look(self) -> None:
        flow, action, now_s = self._flow, self._action, self._flow.now_s()
        late_s = now_s - self._due_s
        if late_s > _LATE_S * flow.driver.engine.nat.scale:
            self._since_s = max(self._since_s, now_s - action.after_s + min(late_s, action.after_s))
        self._since_s = max(self._since_s, self._idleness.last_s(action))
        waiting_bytes = self._idleness.waiting_bytes()
        if waiting_bytes and (action.counts == "segments" or waiting_bytes != self._waiting_bytes):
            self._since_s = now_s
        self._waiting_bytes = waiting_bytes
        if self._since_s + action.after_s > now_s:
            self.wait(now_s + action.after_s / _LOOKS if waiting_bytes else math.inf)
        else:
            if self._idleness.unseen and action.counts == "segments" and action.of is not Side.EXTERNAL:
                tell_unseen(flow)
            flow.take(WentIdle(now_s, self._name, self._since_s))
