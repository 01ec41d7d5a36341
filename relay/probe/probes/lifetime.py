"""How old a busy connection gets: `lifetime-limit`.

Method: connections that carry a byte now and then, each way, are watched for as long as the plan says, and their ends
noted at both sides.

Confidence: fair. A limit beyond the time that is watched is not seen, and of a limit that varies by chance only as much
as three connections show.
"""

from __future__ import annotations

import anyio

from relay.probe.client.lab import Lab, Trial
from relay.probe.findings import Finding
from relay.probe.plan import Plan
from relay.probe.probe import Probe
from relay.probe.protocol.steps import Read, Send

_QUIRK = "lifetime-limit"
_BEATS = 50  # in the time that is watched
_MOST_BETWEEN_S = 30.0
_EXCHANGES = 6  # of a script: each is two of its steps, and each is for many beats
_LEAST_JITTER = 0.02  # of the age: less is the measurement's own


async def _run(lab: Lab) -> None:
    ages: list[float] = []
    errors: list[float] = []
    internal: list[str] = []
    external: list[str] = []

    async def watch() -> None:
        beats = lab.plan.max_life_s / beat_s(lab.plan)
        each = max(1, round(beats / _EXCHANGES))
        steps = (Read(each, 2 * lab.plan.max_life_s), Send(1)) * _EXCHANGES
        trial = await lab.open_greeted(*steps, Read(1 << 20, 2 * lab.plan.max_life_s))
        if not isinstance(trial, Trial):
            return
        began_s = trial.seen.began_s
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_beat, lab, trial)
            with lab.clock.limit(lab.plan.max_life_s):
                await trial.hear()
            errors.append(lab.clock.error_s())
            tasks.cancel_scope.cancel()
        if trial.seen.end and trial.seen.end_entry is not None:
            ages.append(trial.seen.end_entry.at_s)
            internal.append(trial.seen.end)
            await lab.clock.sleep(1.0)
            report = await trial.forget()
            external.append(report.end or "silence")
        else:
            ages.append(lab.clock.now_s() - began_s)
            await trial.forget()

    async with anyio.create_task_group() as tasks:
        for _ in range(lab.plan.rounds):
            tasks.start_soon(watch)
    if not internal:
        lab.findings.note(f"{_QUIRK}: none up to {min(ages, default=0.0):.5g} s")
        return
    says = f"busy connections ended after {min(ages):.5g} to {max(ages):.5g} s ({len(internal)} of {len(ages)})"
    lab.findings.found(Finding(_QUIRK, "after_s", float(f"{min(ages):.5g}"), says, len(internal), len(ages)))
    jitter_s = max(ages) - min(ages)
    if jitter_s > max(errors) + _LEAST_JITTER * min(ages):
        lab.findings.found(Finding(_QUIRK, "jitter_s", round(jitter_s, 1), says, 1, len(ages)))
    lab.findings.agree(_QUIRK, "internal", internal, "the app got {value} ({agreed} of {of})")
    lab.findings.agree(_QUIRK, "external", external, "the server got {value} ({agreed} of {of})")


async def _beat(lab: Lab, trial: Trial) -> None:
    while not trial.seen.end:
        await lab.clock.sleep(beat_s(lab.plan))
        await trial.send()


def beat_s(plan: Plan) -> float:
    """How long a busy connection is quiet between two bytes."""
    return min(plan.max_life_s / _BEATS, _MOST_BETWEEN_S)


def _takes_s(plan: Plan) -> float:
    return plan.max_life_s


PROBE = Probe("lifetime", _run, _takes_s, is_quick=False)
