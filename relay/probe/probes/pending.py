"""How many dials may be under way at once, and what the next one gets: `pending-limit`.

Method: connects to a port of the server whose queue is full, so that it answers no SYN, are held one more at a time;
after each a connect to the server's own port is tried. The first that does not get through shows the limit: two more
must fare alike. Then three more are left waiting, and the held ones are abandoned. If another gets through at once, an
initiator that goes away gives its place back; if only once the server answers again, the NAT's dials go on without it;
if not even then, the place is lost. Those that were left waiting get through together, in their turn, or each when its
SYN is repeated, or never.

Confidence: good, with a server on Linux. More than 64 dials are not tried: a NAT that lets these pass may have a limit
beyond them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import anyio
from anyio.abc import TaskGroup

from relay.clock import real_s
from relay.errors import RelayError
from relay.probe.client.dial import Failure
from relay.probe.client.lab import Lab, Trial
from relay.probe.findings import Finding
from relay.probe.plan import Plan
from relay.probe.probe import Probe
from relay.probe.protocol.steps import Send
from relay.probe.stream import Stream

_QUIRK = "pending-limit"
_MOST = 64
_APART_S = 0.005  # real, and a round trip: a dial is under way at the NAT before the next one comes
_SOON_S = 0.25  # real, and some round trips: what is not held up has got through
_WAITING = 3
_BEGIN_APART_S = 0.7  # real: so their SYNs, repeated 1, 3, 7 s after the first, never come all within 1.3 s
_TOGETHER_S = 0.6  # real
_AT_ONCE_S = 1.0  # real
_TURN_S = 0.1  # real: whose turn it was is through by then
_REPEATED_S = (1.0, 3.0, 7.0, 15.0, 31.0, 63.0)  # real: when a kernel repeats the SYN of a dial


@dataclass(frozen=True)
class Blocked:
    """What was seen at the limit."""

    held: int
    """How many dials were under way."""
    hows: Sequence[str]
    """What further connects got: `silence`, or how they failed."""
    freed_by: str = ""
    """When others got through again: `abandoned`, `answered`, or not at all."""
    had_their_turn: bool = False
    """Whether those that were left waiting were through by then, all at once."""


def judge(seen: Blocked) -> dict[str, Any]:
    """The settings that explain this."""
    is_silent = set(seen.hows) == {"silence"}
    surplus = ("wait" if seen.had_their_turn else "silence") if is_silent else "refuse"
    if is_silent != ("silence" in seen.hows):
        surplus = ""
    return {"max_pending": seen.held, "surplus": surplus or None, "leaks": not seen.freed_by}


async def _run(lab: Lab) -> None:
    try:
        async with lab.other_port("hole", 240.0), anyio.create_task_group() as tasks:
            dials = _Dials(lab)
            seen = await _block(lab, dials, tasks)
            if seen is not None:
                _tell(lab, await _release(lab, dials, seen, tasks))
            tasks.cancel_scope.cancel()
    except RelayError as error:
        lab.findings.note(f"{_QUIRK}: not measured: {error}")


async def _block(lab: Lab, dials: _Dials, tasks: TaskGroup) -> Blocked | None:
    """Hold more and more dials, until others do not get through; None if they always do."""
    for held in range(1, _MOST + 1):
        tasks.start_soon(dials.hold)
        await lab.clock.sleep_really(_APART_S + lab.round_trip_s)
        if dials.failures:
            lab.findings.note(f"{_QUIRK}: not measured: a connect that nothing answers is {dials.failures[0]}")
            return None
        hows = [await _gets_through(lab, lab.plan.patience_s)]
        if not hows[0]:
            continue

        async def try_again(hows: list[str] = hows) -> None:
            hows.append(await _gets_through(lab, lab.plan.patience_s))

        async with anyio.create_task_group() as others:
            for _ in range(1, lab.plan.rounds):
                others.start_soon(try_again)
        if all(hows):
            return Blocked(held, hows)
    lab.findings.note(f"{_QUIRK}: none up to {_MOST} dials at once")
    return None


async def _release(lab: Lab, dials: _Dials, seen: Blocked, tasks: TaskGroup) -> Blocked:
    """Leave some more waiting, abandon those that are held, and see when others get through."""
    through_s: list[float] = []

    async def wait_for_turn() -> None:
        trial = await lab.open(Send(1), within_s=math.inf)
        if isinstance(trial, Trial):
            await trial.hear(1)
            if trial.seen.count("bytes"):
                through_s.append(real_s())
            await trial.forget()

    for _ in range(_WAITING):
        tasks.start_soon(wait_for_turn)
        await lab.clock.sleep_really(_BEGIN_APART_S)
    dials.abandon()
    freed_by = "abandoned" if await _is_freed(lab, _AT_ONCE_S) else ""
    if not freed_by:
        await lab.control.ask("other", **{"as": "open"}, for_s=60)
        freed_by = "answered" if await _is_freed(lab, next_syn_s(dials.age_s) + _AT_ONCE_S) else ""
    await lab.clock.sleep_really(_TURN_S)
    return Blocked(seen.held, seen.hows, freed_by, had_their_turn(through_s))


def next_syn_s(age_s: float) -> float:
    """In how long the SYN of a dial that is so old is repeated."""
    return next((moment_s - age_s for moment_s in _REPEATED_S if moment_s > age_s), 0.0)


def had_their_turn(through_s: Sequence[float]) -> bool:
    """Whether all that were waiting got through together: by repeated SYNs each does at a time of its own."""
    return len(through_s) == _WAITING and max(through_s) - min(through_s) < _TOGETHER_S


async def _is_freed(lab: Lab, within_s: float) -> bool:
    """Whether a connect gets through within so many real seconds."""
    with lab.clock.limit_really(within_s):
        while await _gets_through(lab, _SOON_S + 4 * lab.round_trip_s):
            await lab.clock.sleep_really(_APART_S)
        return True
    return False


async def _gets_through(lab: Lab, within_s: float) -> str:
    """Nothing if a connect and a byte of the server's do; else how that failed."""
    trial = await lab.open(Send(1), within_s=within_s)
    if not isinstance(trial, Trial):
        return trial.how
    with lab.clock.limit_really(within_s):
        await trial.hear(1)
    got, end = trial.seen.count("bytes"), trial.seen.end
    await trial.forget()
    return "" if got else end or "silence"


class _Dials:
    """Connects that are not answered, for as long as they are held."""

    def __init__(self, lab: Lab) -> None:
        self.failures: list[str] = []
        self._lab = lab
        self._began_s = real_s()
        self._scopes: list[anyio.CancelScope] = []

    async def hold(self) -> None:
        """Connect where nothing answers, until that is abandoned."""
        with anyio.CancelScope() as scope:
            self._scopes.append(scope)
            connected = await self._lab.dialer.connect(self._lab.other, None)
            if isinstance(connected, Failure):
                self.failures.append(connected.how)
                return
            await _keep(connected)

    @property
    def age_s(self) -> float:
        """How long the oldest has been under way; the others began soon after."""
        return real_s() - self._began_s

    def abandon(self) -> None:
        """Give all of them up."""
        for scope in self._scopes:
            scope.cancel()


async def _keep(stream: Stream) -> None:
    try:
        await anyio.sleep_forever()
    finally:
        stream.reset()


def _tell(lab: Lab, seen: Blocked) -> None:
    found = judge(seen)
    count = len(seen.hows)
    kinds = ", ".join(sorted(set(seen.hows)))
    freed = {"abandoned": "when these were abandoned", "answered": "when these were answered", "": "not at all"}
    turn = "had their turn" if seen.had_their_turn else "did not have a turn"
    says = {
        "max_pending": f"while {seen.held} connects were not answered, further ones were not let through: {kinds}",
        "surplus": f"a further connect: {kinds}; those that waited {turn}",
        "leaks": f"further connects got through again: {freed[seen.freed_by]}",
    }
    for setting, value in found.items():
        lab.findings.found(Finding(_QUIRK, setting, value, says[setting], count, count))


def _takes_s(plan: Plan) -> float:
    return 10.0 + 3 * plan.patience_s


PROBE = Probe("pending", _run, _takes_s, is_quick=False)
