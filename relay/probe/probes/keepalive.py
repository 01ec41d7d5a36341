"""Who answers the app's keepalive probes, and whether the NAT sends some of its own: `local-keepalive`.

Method: the app's kernel probes a quiet connection once a second; both kernels' counters of segments are read before and
after. If the app's rises and the server's does not rise more than that of a connection which is left alone, the NAT has
answered. On connections that are left alone, segments at the server are the NAT's own probes, and their number at
several moments gives the interval.

Confidence: sure, where both ends run on Linux: other kernels do not tell what they have counted. An interval is as
exact as the moments are near to each other; one that is longer than the plan's watch is not seen.
"""

from __future__ import annotations

import math

import anyio

from relay.probe.client.lab import Lab, Trial
from relay.probe.findings import Finding
from relay.probe.plan import Plan
from relay.probe.probe import Probe
from relay.probe.probes.idle_refresh import set_keepalive
from relay.probe.protocol.report import Report
from relay.probe.protocol.steps import REPORT, Step, Wait

_QUIRK = "local-keepalive"
_SETTLE_S = 0.5  # real: the last ACK of what was exchanged has come
_PROBING_S = 4.6  # real: four probes
_LEAST = 2  # of them: a single segment may be an ACK that is late
_NONE = "no one"
_MOMENTS = 6
_LATE_S = 0.5  # real: how much later than it should a busy host looks


async def _run(lab: Lab) -> None:
    answers: list[str | None] = []
    watched: list[tuple[float, float]] = []
    async with anyio.create_task_group() as tasks:
        for _ in range(lab.plan.rounds):
            tasks.start_soon(_probe, lab, answers)
            if lab.plan.keepalive_watch_s:
                tasks.start_soon(_watch, lab, watched)
    if unanswered := answers.count(_NONE):
        lab.findings.note(f"{_QUIRK}: keepalive probes of the app's got no answer ({unanswered} of {len(answers)})")
    elif None in answers:
        lab.findings.note(f"{_QUIRK}: who answers probes is not measured: both ends have to run on Linux")
    else:
        says = "keepalive probes of the app's were answered by the {value} ({agreed} of {of})"
        lab.findings.agree(_QUIRK, "answered_by", answers, says)
    _tell_interval(lab, watched)


def _tell_interval(lab: Lab, watched: list[tuple[float, float]]) -> None:
    if not watched:
        return
    low_s, high_s = (_really(lab, s) for s in (max(low for low, _ in watched), min(high for _, high in watched)))
    count = len(watched)
    if math.isinf(high_s):
        watch_s = _really(lab, lab.plan.keepalive_watch_s)
        says = f"the server got no probe of the NAT's in {watch_s:g} s ({count} of {count})"
        lab.findings.found(Finding(_QUIRK, "external_interval_s", 0, says, count, count))
    elif low_s <= high_s:
        says = f"the server got a probe of the NAT's every {low_s:.3g} to {high_s:.3g} s ({count} of {count})"
        value = max(1, round((low_s + high_s) / 2))
        lab.findings.found(Finding(_QUIRK, "external_interval_s", value, says, count, count))
    else:
        says = "the NAT's own probes come at no one interval"
        lab.findings.found(Finding(_QUIRK, "external_interval_s", None, says, 0, count))


async def _probe(lab: Lab, answers: list[str | None]) -> None:
    steps = (Wait(_really(lab, _SETTLE_S)), REPORT, Wait(_really(lab, _PROBING_S + 0.5)), REPORT)
    trial, twin = await lab.open_greeted(*steps), await lab.open_greeted(*steps)
    if not isinstance(trial, Trial) or not isinstance(twin, Trial):
        return
    await lab.clock.sleep_really(_SETTLE_S)
    before = trial.state().get("segments_in")
    set_keepalive(trial.stream.sock, 1)
    await lab.clock.sleep_really(_PROBING_S)
    after = trial.state().get("segments_in")
    probed = _segments(await trial.their_report())
    alone = _segments(await twin.their_report())
    if before is None or after is None or len(probed) < 2 or len(alone) < 2:
        answers.append(None)
    elif after > before:
        of_the_apps = probed[-1] - probed[0] - (alone[-1] - alone[0])  # what comes alone is the NAT's own
        answers.append("server" if of_the_apps >= _LEAST else "nat")
    else:
        answers.append(_NONE)


async def _watch(lab: Lab, watched: list[tuple[float, float]]) -> None:
    every_s = lab.plan.keepalive_watch_s / _MOMENTS
    steps: list[Step] = [Wait(_really(lab, _SETTLE_S)), REPORT]
    for _ in range(_MOMENTS):
        steps += [Wait(_really(lab, every_s)), REPORT]
    trial = await lab.open_greeted(*steps)
    if not isinstance(trial, Trial):
        return
    await lab.clock.sleep_really(_SETTLE_S + lab.plan.keepalive_watch_s)
    report = await trial.their_report()
    counts, at_s = _segments(report), [seen.at_s / lab.clock.scale for seen in report.all("state")]
    if len(counts) == len(at_s) == _MOMENTS + 1:
        moments = zip(at_s, counts, strict=True)
        watched.append(interval_of([(moment_s - at_s[0], count - counts[0]) for moment_s, count in moments]))


def interval_of(moments: list[tuple[float, int]]) -> tuple[float, float]:
    """Between what the interval lies, where so many probes had come after so long; infinity is no upper limit."""
    low_s = max((at_s - _LATE_S) / (count + 1) for at_s, count in moments)
    high_s = min(((at_s + _LATE_S) / count for at_s, count in moments if count), default=math.inf)
    return low_s, high_s


def _segments(report: Report) -> list[int]:
    return [seen.value["segments_in"] for seen in report.all("state") if "segments_in" in seen.value]


def _really(lab: Lab, seconds: float) -> float:
    """So many real seconds, on the NAT's clock."""
    return seconds * lab.clock.scale


def _takes_s(plan: Plan) -> float:
    return _SETTLE_S + max(_PROBING_S, plan.keepalive_watch_s) + 1


PROBE = Probe("keepalive", _run, _takes_s)
