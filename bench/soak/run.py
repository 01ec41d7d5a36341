"""The course of a soak: rounds of traffic, with a lull after each, until the time is over or something has failed."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter
from dataclasses import dataclass, field

from bench.soak import vitals
from bench.soak.flows import Slot, Target, open_target, serve_void
from bench.soak.plans import Plan, draw
from bench.soak.streams import Pad
from bench.soak.subject import Subject, run_subject
from bench.soak.vitals import Vitals
from bench.soak.weather import Weather

FLOW_S = 30.0
"""How long a flow may take; the longest plans take a few seconds."""
_WARM_UP_S = 5.0
_ROUND_S = 5.0
_TAIL_S = 2.0  # about, from the end of a round to that of its last flow
_LULLS = 40  # of a long soak


@dataclass(frozen=True, kw_only=True)
class Order:
    """What is to be run."""

    seconds: float
    backend: str
    profile: str
    seed: int
    slots: int
    only: int | None = None
    """The number of the one plan to play again and again, instead of all in turn."""


@dataclass
class Report:
    """What came of it."""

    flows: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By story and front end."""
    carried_bytes: int = 0
    events: Counter[str] = field(default_factory=Counter)
    freezes: int = 0
    changes: int = 0
    before: Vitals | None = None
    lulls: list[Vitals] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


class Soak:
    """One soak of one relay."""

    def __init__(self, order: Order, subject: Subject, report: Report) -> None:
        self._order = order
        self._subject = subject
        self._report = report
        self._weather = Weather(subject, order.profile, order.seed)
        self._numbers = itertools.count() if order.only is None else itertools.repeat(order.only)
        self._slots: list[Slot] = []
        self._void: Target

    async def run(self) -> None:
        """Take as long as the order says."""
        end_s = time.monotonic() + self._order.seconds - vitals.IDLE_S - _TAIL_S
        report = self._report
        await self._open_slots()
        report.before = await vitals.take(self._subject)
        serving = asyncio.create_task(serve_void(self._void.sock, report.failures))
        await self._round(_WARM_UP_S)
        await self._lull(idle=True)
        round_s = max(_ROUND_S, self._order.seconds / _LULLS)
        while not report.failures and (left_s := end_s - time.monotonic()) > 0:
            await self._round(min(round_s, left_s))
            await self._lull(idle=left_s <= round_s)
        serving.cancel()
        if not report.failures:
            report.failures += vitals.growth(report.lulls)
        report.freezes, report.changes = self._weather.freezes, self._weather.changes

    async def _open_slots(self) -> None:
        subject, pad = self._subject, Pad(self._order.seed)
        self._void = await open_target(subject, listens=True)
        subject.uncounted |= {f"{host}:{self._void.port}" for host in ("127.0.0.1", "localhost")}
        for _ in range(self._order.slots):
            served, refusing = [await open_target(subject, listens=listens) for listens in (True, False)]
            self._slots.append(Slot(subject, self._weather, pad, served=served, refusing=refusing, void=self._void))

    async def _round(self, seconds: float) -> None:
        until_s = time.monotonic() + seconds
        blowing = asyncio.create_task(self._weather.blow())
        await asyncio.gather(*(self._play(slot, until_s) for slot in self._slots))
        self._weather.calm()
        await blowing

    async def _play(self, slot: Slot, until_s: float) -> None:
        while time.monotonic() < until_s and not self._report.failures:
            plan = draw(self._order.seed, next(self._numbers))
            try:
                async with asyncio.timeout(FLOW_S):
                    carried_bytes = await slot.play(plan)
            except Exception as error:
                self._fail(plan, slot, error)
            else:
                self._report.carried_bytes += carried_bytes
                self._report.flows[plan.story, plan.front_end] += 1

    def _fail(self, plan: Plan, slot: Slot, error: BaseException) -> None:
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        said = f"not over after {FLOW_S:g} s" if isinstance(error, TimeoutError) else f"{type(error).__name__}: {error}"
        self._report.failures.append(f"{plan}\n  {said}; the relay's records of it:\n{slot.tale}")

    async def _lull(self, *, idle: bool) -> None:
        before = self._report.before
        assert before is not None
        if idle:
            await asyncio.sleep(vitals.IDLE_S)
        now = await vitals.settle(self._subject, before)
        self._report.lulls.append(now)
        self._report.failures += vitals.leaks(before, now) + self._subject.complaints
        self._subject.complaints.clear()


async def soak(order: Order) -> Report:
    """Run it all."""
    report = Report()
    async with run_subject(order.backend, order.profile, order.seed) as subject:
        await Soak(order, subject, report).run()
    report.failures += subject.complaints
    report.events = subject.events
    return report
