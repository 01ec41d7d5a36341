"""How long a connection may be without traffic, and who hears of its end: `idle-timeout`.

Method: connections are left alone, each for an age of its own, and used once: first from 10 s to the longest that the
plan allows, then between the longest that lived and the shortest that died, three for each age, and once more so if
these are not near to each other. The app uses most of
them, the server some, for each end may hear of it on its own next segment alone. An end that comes unasked gives the
moment itself; then more are begun at other moments, to see by how much a NAT that looks now and then is late. Several
of them have to be, by more than this host's own delays. Where all live that the app uses, the server uses others: some
NATs take an app's segment for the first of a new mapping, and bar the server's.

Confidence: three of three on both sides of the limit are sure. `after_s` is the shortest age that was seen dead, so
that a replay is never kinder than the NAT.
"""

from __future__ import annotations

import anyio

from relay.probe.ages import MOST_ROUNDS, Fate, at_the_limit, between, bracket, in_words, is_narrow, lateness, spread
from relay.probe.client.lab import Lab, Trial, use_until_settled
from relay.probe.findings import Finding, Findings
from relay.probe.plan import Plan
from relay.probe.probe import Probe
from relay.probe.protocol.steps import Read, Send, Wait

_QUIRK = "idle-timeout"
_ENDS = frozenset({"silence", "rst-on-next", "rst", "fin"})
_AFTER_S = 1.0  # of the NAT's clock: how much later the other end hears at most
_JUST_BEFORE = 0.97
_EVERY = 2  # of the ages: so many of them the server tries, where none that the app tried was a limit
_STAGGERED = 12
_MOST_STAGGER_S = 60.0
_GOLDEN = 0.618034
_LATE_SHARE = 0.04  # of the limit: a spread below that is the measurement's own


async def _run(lab: Lab) -> None:
    plan = lab.plan
    fates: list[Fate] = []
    ages = spread(plan.first_age_s, plan.max_idle_s, plan.ages)
    await use_until_settled(lab, use_by_app, ages, fates)
    lived_s, died_s = bracket(fates)
    if died_s is None:
        await _run_inward(lab, ages, in_words(fates)[0])
        return
    tell(lab.findings, fates)
    for _ in range(MOST_ROUNDS):
        await _narrow(lab, lived_s, died_s, fates)
        tell(lab.findings, fates)
        lived_s, narrowed_s = bracket(fates)
        died_s = narrowed_s or died_s
        if is_narrow(lived_s, died_s):
            break
    limit = at_the_limit(fates)
    if limit and not lab.findings.value(_QUIRK, "external"):  # what was heard at first was not the limit, but RST later
        async with anyio.create_task_group() as tasks:
            for _ in range(plan.rounds):
                tasks.start_soon(_use_by_server, lab, min(fate.age_s for fate in limit), fates)
    tell(lab.findings, fates)


async def _run_inward(lab: Lab, ages: list[float], lived: str) -> None:
    """Look for a limit that the server's segments alone meet."""
    fates: list[Fate] = []
    await use_until_settled(lab, _use_by_server, ages[-1::-_EVERY][::-1], fates)
    lived_s, died_s = bracket(fates)
    if died_s is None:
        lab.findings.note(f"{_QUIRK}: none up to {ages[-1]:.5g} s: {lived}")
        return
    for _ in range(MOST_ROUNDS):
        async with anyio.create_task_group() as tasks:
            for age_s in between(lived_s, died_s, lab.plan.ages_between):
                for _ in range(lab.plan.rounds):
                    tasks.start_soon(_use_by_server, lab, age_s, fates)
        lived_s, narrowed_s = bracket(fates)
        died_s = narrowed_s or died_s
        if is_narrow(lived_s, died_s):
            break
    tell(lab.findings, fates)
    lab.findings.note(f"{_QUIRK}: {lived} when the app used them: its own segment makes a mapping again, or needs none")


async def _narrow(lab: Lab, lived_s: float, died_s: float, fates: list[Fate]) -> None:
    """Leave connections alone for ages between two, several for each."""
    ages = between(lived_s, died_s, lab.plan.ages_between)
    is_heard = any(fate.heard and fate.age_s <= died_s for fate in fates)
    if is_heard and _JUST_BEFORE * died_s > lived_s:
        ages.append(_JUST_BEFORE * died_s)  # if that dies when it is used, what was heard came after the limit
    async with anyio.create_task_group() as tasks:
        for _ in range(lab.plan.rounds):
            tasks.start_soon(_use_by_server, lab, died_s, fates)
            for age_s in ages:
                tasks.start_soon(use_by_app, lab, age_s, fates)
        if is_heard:
            stagger_s = min(_MOST_STAGGER_S, died_s / 4)
            for index in range(_STAGGERED):
                tasks.start_soon(use_by_app, lab, died_s * 1.5, fates, stagger_s * (index * _GOLDEN % 1))


async def use_by_app(lab: Lab, age_s: float, fates: list[Fate], begin_s: float | None = None) -> None:
    """Leave a connection alone for so long, then send a byte from the app's end; begin at once or after `begin_s`."""
    await lab.clock.sleep(begin_s or 0.0)
    trial = await lab.open_quiet(Read(1, 2 * age_s + 60), Send(1), Wait(age_s))
    if not isinstance(trial, Trial):
        return
    quiet_s, error_s = lab.clock.now_s(), lab.clock.error_s()
    with lab.clock.limit(age_s):
        await trial.hear()
    used_s, error_s = lab.clock.now_s(), error_s + lab.clock.error_s()
    heard, lived = bool(trial.seen.end), False
    internal = trial.seen.end
    if not heard:
        await trial.send()
        end = await trial.hear_out(1)
        lived, internal = end == "bytes", "rst-on-next" if end == "rst" else end
    if not lived:
        await lab.clock.sleep(_AFTER_S)
    report = await trial.forget()
    entry, external, external_s = report.end_entry, "", 0.0
    if not lived and entry is not None and report.began_s + entry.at_s <= used_s + _AFTER_S:
        external, external_s = report.end, report.began_s + entry.at_s - quiet_s
    known = "" if lived else internal
    fates.append(Fate(used_s - quiet_s, lived, heard, known, external, external_s, error_s, begin_s is not None))


async def _use_by_server(lab: Lab, age_s: float, fates: list[Fate]) -> None:
    """Leave a connection alone for so long, then send a byte from the server's end."""
    patience_s = lab.plan.patience_s * lab.clock.scale
    trial = await lab.open_quiet(Wait(age_s), Send(1), Wait(patience_s))
    if not isinstance(trial, Trial):
        return
    with lab.clock.limit(age_s + patience_s):
        await trial.hear(1)
    lived = trial.seen.count("bytes") > 1
    report = await trial.their_report()
    sent = list(report.all("sent"))
    if len(sent) > 1:
        age_s = max(age_s, sent[1].at_s - sent[0].at_s)
    whats = [entry.what for entry in report.entries]
    external, external_s = report.end or "silence", 0.0
    if external == "rst" and whats[: whats.index("rst")].count("sent") > 1:
        external = "rst-on-next"
    elif (entry := report.end_entry) is not None:
        external_s = entry.at_s - sent[0].at_s
    fates.append(Fate(age_s, lived, external="" if lived else external, external_s=external_s))


def tell(findings: Findings, fates: list[Fate]) -> None:
    """Add what all that was seen comes to."""
    dead = at_the_limit(fates)
    if not dead:
        return
    says, agreed, of = in_words(fates)
    findings.forget(_QUIRK)
    died_s = min(fate.age_s for fate in dead)
    heard = [fate for fate in dead if fate.heard]
    if heard:  # the moments themselves; a NAT that looks now and then finds some later than others
        agreed = of = len(heard)
        says = f"quiet connections ended unasked after {died_s:.5g} to {max(fate.age_s for fate in heard):.5g} s"
        late_s, *count = lateness(heard)
        if late_s > max(2.0, _LATE_SHARE * died_s):
            findings.found(Finding(_QUIRK, "late_s", round(late_s, 1), says, *count))
    elif later := [fate.age_s for fate in fates if fate.heard and fate.internal == "rst"]:
        silent_s = float(f"{min(later) - died_s:.3g}")
        said = f"RST came, unasked, after {min(later):.5g} s ({len(later)} of {len(later)})"
        findings.found(Finding(_QUIRK, "silence_s", max(1.0, silent_s), said, len(later), len(later)))
    findings.found(Finding(_QUIRK, "after_s", float(f"{died_s:.5g}"), says, agreed, of))
    in_time_s = died_s * (1 + _LATE_SHARE) + _AFTER_S  # what comes later is not the limit's
    internal = [fate.internal for fate in dead if fate.internal]
    external = [fate.external for fate in dead if fate.external and fate.external_s <= in_time_s]
    for setting, ends, who in (("internal", internal, "the app"), ("external", external, "the server")):
        known = [end if end in _ENDS else None for end in ends]
        findings.agree(_QUIRK, setting, known, f"{who} got {{value}} ({{agreed}} of {{of}})")


def _takes_s(plan: Plan) -> float:
    return 2 * plan.max_idle_s


PROBE = Probe("idle", _run, _takes_s, is_quick=False)
