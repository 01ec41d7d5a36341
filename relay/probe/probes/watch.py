"""Whether connections die together, and what happened on this host then: `link-down-reset`.

Method: for hours, eight connections that send a byte now and then and eight that are quiet are watched. When most of
the busy ones die at the same time, the quiet ones are used once: if they are dead as well, what happened was the NAT's,
and all begin anew. They begin at different times, so that a limit of age does not look like that. Besides, the wall
clock is held against the monotonic one, which stands still while the host sleeps, and this host's own address is looked
at.

Confidence: as long as one watches. A NAT that drops everything in silence is not seen. What is regular is seen from the
third time on.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from contextlib import closing, suppress
from itertools import pairwise

import anyio

from relay.clock import real_s, wall_s
from relay.probe.client.lab import Lab, Trial
from relay.probe.findings import Finding
from relay.probe.plan import Plan
from relay.probe.probe import Probe
from relay.probe.protocol.steps import Read

_QUIRK = "link-down-reset"
_EACH = 8  # busy ones, and quiet ones
_MOST = 0.75  # of them, at the same time, is all of them
_BEATS, _MOST_BEAT_S = 400, 5.0
_TOGETHER_S = 1.0  # and a beat: so near to each other those are that die together
_APART = 2  # times that: so much later each begins than the one before
_ENOUGH = 3
_NEAR = 0.1
_SLEPT_S = 5.0  # that the wall clock gained
_LOOK_S = 1.0  # real


def death_of_all(ended_s: Sequence[float], within_s: float) -> float | None:
    """When so many of them ended within so short a time that it was no chance: the first; None if that was never so."""
    needed = round(_MOST * _EACH)
    moments = sorted(ended_s)
    for first_s, last_s in zip(moments, moments[needed - 1 :], strict=False):
        if last_s - first_s <= within_s:
            return first_s
    return None


def regularity(moments: Sequence[float]) -> tuple[float, float] | None:
    """How far apart moments are, and by how much they are late at the most; None if they are at no one interval."""
    if len(moments) < _ENOUGH:
        return None
    every_s = (moments[-1] - moments[0]) / (len(moments) - 1)
    if any(abs(later - earlier - every_s) > _NEAR * every_s for earlier, later in pairwise(moments)):
        return None
    beside = [moment - index * every_s for index, moment in enumerate(moments)]
    return every_s, max(beside) - min(beside)


async def _run(lab: Lab) -> None:
    watch = _Watch(lab)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(watch.look_at_host)
        until_s = lab.clock.now_s() + lab.plan.watch_s
        while (left_s := until_s - lab.clock.now_s()) > 0:
            await watch.once(left_s)
        tasks.cancel_scope.cancel()
    watch.tell()


class _Watch:
    """What has happened so far."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._began_s = lab.clock.now_s()
        self._beat_s = min(lab.plan.watch_s / _BEATS, _MOST_BEAT_S)
        self._within_s = self._beat_s + _TOGETHER_S
        self._moments: list[float] = []
        self._internal: list[str] = []
        self._external: list[str] = []

    async def once(self, for_s: float) -> None:
        """Watch connections until they die together, or for so long."""
        busy: list[Trial] = []
        quiet: list[Trial] = []
        died = anyio.Event()
        async with anyio.create_task_group() as tasks:
            for index in range(_EACH):
                tasks.start_soon(self._beat, busy, _APART * index * self._within_s, died)
                tasks.start_soon(self._rest, quiet, _APART * index * self._within_s)
            with self._lab.clock.limit(for_s):
                await died.wait()
            if died.is_set():
                await self._lab.clock.sleep(self._within_s)
            tasks.cancel_scope.cancel()
        died_s = death_of_all([_ended_s(trial) for trial in busy if trial.seen.end], self._within_s)
        if died_s is not None:
            await self._look_at_quiet(quiet, died_s)
        for trial in (*busy, *quiet):
            await trial.forget()

    async def _open(self, trials: list[Trial], after_s: float) -> Trial | None:
        await self._lab.clock.sleep(after_s)
        trial = await self._lab.open_greeted(Read(1 << 20, 2 * self._lab.plan.watch_s))
        if not isinstance(trial, Trial):
            return None
        trials.append(trial)
        return trial

    async def _beat(self, trials: list[Trial], after_s: float, died: anyio.Event) -> None:
        """Keep one busy; when it is over, see whether that was the death of all."""
        trial = await self._open(trials, after_s)
        if trial is None:
            return
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(trial.hear)
            while not trial.seen.end:
                await self._lab.clock.sleep(self._beat_s - self._lab.clock.now_s() % self._beat_s)
                await trial.send()
            tasks.cancel_scope.cancel()
        if death_of_all([_ended_s(each) for each in trials if each.seen.end], self._within_s) is not None:
            died.set()

    async def _rest(self, trials: list[Trial], after_s: float) -> None:
        if (trial := await self._open(trials, after_s)) is not None:
            await trial.hear()

    async def _look_at_quiet(self, quiet: list[Trial], died_s: float) -> None:
        """Whether those that were quiet are dead as well, and who heard of it."""
        internal, external = [], []
        for trial in quiet:
            how = trial.seen.end
            if not how:
                await trial.send()
                end = await trial.hear_out(1)
                how = {"rst": "rst-on-next"}.get(end, "") if end not in {"bytes", "silence"} else ""
            report = await trial.forget()
            if how:
                internal.append(how)
                external.append(report.end or "silence")
        if len(internal) < _MOST * _EACH:
            self._lab.findings.note(f"busy connections died together, and quiet ones did not, {self._ago(died_s)}")
            return
        self._moments.append(died_s)
        self._internal += internal
        self._external += external

    def tell(self) -> None:
        """What all of it comes to."""
        findings, watched_s = self._lab.findings, self._lab.clock.now_s() - self._began_s
        if not self._moments:
            findings.note(f"{_QUIRK}: connections did not die together in {watched_s:.5g} s")
            return
        findings.agree(_QUIRK, "internal", self._internal, "when all died the app got {value} ({agreed} of {of})")
        findings.agree(_QUIRK, "external", self._external, "when all died the server got {value} ({agreed} of {of})")
        count = len(self._moments)
        says = f"all connections died together, {count} time{'s' * (count > 1)} in {watched_s:.5g} s: "
        says += ", ".join(self._ago(moment) for moment in self._moments[:10])
        regular = regularity(self._moments)
        if regular is None:
            findings.note(says)
            return
        every_s, jitter_s = regular
        findings.found(Finding(_QUIRK, "every_s", float(f"{every_s:.4g}"), says, count, count))
        if jitter_s > self._within_s:
            findings.found(Finding(_QUIRK, "jitter_s", float(f"{jitter_s:.3g}"), says, count, count))

    async def look_at_host(self) -> None:
        """Note when the host has slept, and when its address changes."""
        apart_s, address = wall_s() - real_s(), _own_address(self._lab)
        while True:
            await anyio.sleep(_LOOK_S)
            if (slept_s := wall_s() - real_s() - apart_s) > _SLEPT_S:
                self._lab.findings.note(f"the host slept, or its clock was set, for {slept_s:.0f} s, {self._ago()}")
            apart_s += slept_s
            if (now := _own_address(self._lab)) != address:
                self._lab.findings.note(f"this host's address changed, {self._ago()}")
                address = now

    def _ago(self, moment_s: float | None = None) -> str:
        at_s = (self._lab.clock.now_s() if moment_s is None else moment_s) - self._began_s
        return f"{at_s:.5g} s from the beginning"


def _ended_s(trial: Trial) -> float:
    return trial.seen.began_s + (trial.seen.end_entry.at_s if trial.seen.end_entry is not None else 0.0)


def _own_address(lab: Lab) -> str:
    """This host's address on the way to the server; nothing is sent."""
    target = lab.dialer.via.address if lab.dialer.via is not None else lab.main
    if (ip := target.ip) is None:
        return ""
    family = socket.AF_INET6 if ip.version == 6 else socket.AF_INET
    with suppress(OSError), closing(socket.socket(family, socket.SOCK_DGRAM)) as sock:
        sock.connect(target)
        return str(sock.getsockname()[0])
    return ""


def _takes_s(plan: Plan) -> float:
    return plan.watch_s


PROBE = Probe("watch", _run, _takes_s, is_quick=False)
