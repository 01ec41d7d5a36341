"""How many connections there may be at once, what the next one gets, and for how long one that is over still counts:
`flow-limit`.

Method: connections to the server, which holds them all, are opened until some do not get through or the plan's number
is reached; then one to its other port tells a limit for each destination from one for all. Then one connection is ended
by FIN from both ends, and others are tried at growing intervals until one gets through; once more in between, and the
same with RST.

Confidence: the number is a lower bound, for others may use the NAT meanwhile, and it is seen once: `assumed`. While
this runs nothing else may get through the NAT, which is why it only runs when it is asked for.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import anyio

from relay.address import Endpoint
from relay.errors import RelayError
from relay.probe.ages import spread
from relay.probe.client.dial import Connected, Failure
from relay.probe.client.lab import Lab
from relay.probe.findings import Finding
from relay.probe.plan import Plan
from relay.probe.probe import Probe
from relay.probe.stream import Broken, Stream

_QUIRK = "flow-limit"
_AT_ONCE = 32
_HOLD_AGES = 9
_MOST_HOLD_S = 240.0
_BETWEEN = 8
_REFRESHED_S = 20.0
_LOOK_EVERY_S = 0.02
_REFUSALS = frozenset({"refused", "reset", "rst", "fin", "failed", "closed", "denied"})


@dataclass(frozen=True)
class Filled:
    """What was seen when no more connections got through."""

    through: int
    hows: Sequence[str]
    """What those got that did not."""
    others_pass: bool
    """Whether one to another port got through meanwhile."""
    beside: int = 0
    """Connections of the probe's own that are through the NAT as well."""


def judge(seen: Filled) -> dict[str, Any]:
    """The settings that explain this; None in place of a value that nothing explains."""
    kinds = {"refuse" if how in _REFUSALS else how for how in seen.hows}
    surplus = next(iter(kinds)) if len(kinds) == 1 and kinds <= {"refuse", "silence"} else None
    return {
        "max_flows": seen.through + seen.beside,
        "per": "destination" if seen.others_pass else "relay",
        "surplus": surplus,
    }


async def _run(lab: Lab) -> None:
    try:
        async with lab.holding(lab.plan.max_flows):
            flows = _Flows(lab)
            try:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(flows.keep_awake)
                    await _measure(lab, flows)
                    tasks.cancel_scope.cancel()
            finally:
                flows.end()
    except RelayError as error:
        lab.findings.note(f"{_QUIRK}: not measured: {error}")


async def _measure(lab: Lab, flows: _Flows) -> None:
    hows = await flows.fill(lab.plan.max_flows)
    strange = sorted(set(hows) - _REFUSALS - {"silence"})
    if strange:
        lab.findings.note(f"{_QUIRK}: {len(flows.open)} connections at once, then: {', '.join(strange)}")
        return
    if not hows:
        lab.findings.note(f"{_QUIRK}: none up to {len(flows.open)} connections to one port")
        return
    async with lab.other_port("open"):
        others_pass = not await flows.add(lab.other)
    if others_pass:
        flows.open.pop().reset()
    seen = Filled(len(flows.open), hows, others_pass, 0 if lab.is_control_beside else 1)
    kinds = ", ".join(sorted(set(hows)))
    says = f"{seen.through} connections got through at once, {len(hows)} more did not: {kinds}; to another port"
    says += " one did" if seen.others_pass else " neither"
    for setting, value in judge(seen).items():
        lab.findings.found(Finding(_QUIRK, setting, value, says, 1, 1))
    for setting, how, end in (("hold_after_fin_s", "FIN from both ends", _finish), ("hold_after_rst_s", "RST", _reset)):
        await _tell_hold(lab, flows, setting, how, end)


async def _tell_hold(
    lab: Lab, flows: _Flows, setting: str, how: str, end: Callable[[Lab, Stream], Awaitable[None]]
) -> None:
    """End a connection and see when another gets through; then once more, in between."""
    low_s, high_s = await flows.passes_after(end, [0.0, *spread(1.0, _MOST_HOLD_S, _HOLD_AGES)])
    if high_s and high_s <= _MOST_HOLD_S:
        between = [low_s + (high_s - low_s) * (index + 1) / _BETWEEN for index in range(_BETWEEN)]
        low_s, again_s = await flows.passes_after(end, between)
        high_s = min(high_s, again_s)
    if high_s > _MOST_HOLD_S:
        lab.findings.note(f"{_QUIRK}: {_MOST_HOLD_S:g} s after {how} no other connection got through")
        return
    says = f"after {how} of one another did not get through in {low_s:.3g} s, and did after {high_s:.3g} s"
    lab.findings.found(Finding(_QUIRK, setting, float(f"{high_s:.3g}"), says, 1, 1))


class _Flows:
    """The connections that fill the NAT."""

    def __init__(self, lab: Lab) -> None:
        self.open: list[Stream] = []
        self._lab = lab

    async def fill(self, most: int) -> list[str]:
        """Connect, some at a time, until one does not get through; returns how those failed."""
        hows: list[str] = []

        async def try_one() -> None:
            how = await self.add(self._lab.main)
            if how:
                hows.append(how)

        while not hows and len(self.open) < most:
            async with anyio.create_task_group() as tasks:
                for _ in range(min(_AT_ONCE, most - len(self.open))):
                    tasks.start_soon(try_one)
        return hows

    async def passes_after(
        self, end: Callable[[Lab, Stream], Awaitable[None]], ages: Sequence[float]
    ) -> tuple[float, float]:
        """End one, and try at these ages to replace it: the last that was in vain, and the first that was not."""
        await end(self._lab, self.open.pop())
        ended_s, low_s = self._lab.clock.now_s(), 0.0
        for age_s in ages:
            await self._lab.clock.sleep(max(0.0, ended_s + age_s - self._lab.clock.now_s()))
            tried_s = self._lab.clock.now_s() - ended_s
            if not await self.add(self._lab.main):
                return low_s, tried_s if age_s else 0.0
            low_s = tried_s
        return low_s, float("inf")

    def end(self) -> None:
        """Reset all of them."""
        for stream in self.open:
            stream.reset()

    async def keep_awake(self) -> None:
        """Have none of them quiet for so long that the NAT drops it, until cancelled."""
        while True:
            await self._lab.clock.sleep(_REFRESHED_S)
            for stream in list(self.open):
                with suppress(Broken):
                    await stream.send(b".")

    async def add(self, target: Endpoint) -> str:
        """Open one more; nothing, or how it failed: one that the NAT accepts and does not carry has failed, too."""
        connected: Connected = Failure("silence")
        with self._lab.clock.patience(self._lab.plan.patience_s):
            connected = await self._lab.dialer.connect(target, None)
        if isinstance(connected, Failure):
            return connected.how
        how = "silence"
        try:
            with self._lab.clock.patience(self._lab.plan.patience_s):
                how = await _arrival(connected, self._lab.held_head())
        finally:
            if how:
                connected.reset()
            else:
                self.open.append(connected)
        return how


async def _arrival(stream: Stream, head: bytes) -> str:
    """Nothing once the server has said that it has the connection; else how that ended."""
    try:
        await stream.send(head)
        return "" if await stream.receive() else "fin"
    except Broken as broken:
        return broken.end


async def _finish(lab: Lab, stream: Stream) -> None:
    """FIN from this end, then the server's."""
    stream.finish()
    with lab.clock.patience(lab.plan.patience_s), suppress(Broken):
        while await stream.receive():
            pass
    stream.close()


async def _reset(lab: Lab, stream: Stream) -> None:
    stream.reset()
    await lab.clock.sleep_really(_LOOK_EVERY_S + lab.round_trip_s)


def _takes_s(plan: Plan) -> float:
    return 4 * _MOST_HOLD_S if plan.max_flows else 0.0


PROBE = Probe("flows", _run, _takes_s, is_quick=False, is_asked_for=True)
