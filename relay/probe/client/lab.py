"""What a probe works with: connections that do as a script says at the far end, and what both ends saw of them."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import anyio

from relay.address import Endpoint
from relay.probe.ages import Fate, is_settled
from relay.probe.client.control import Control
from relay.probe.client.dial import Connected, Dialer, Failure
from relay.probe.clock import ProbeClock
from relay.probe.findings import Findings
from relay.probe.plan import Plan
from relay.probe.protocol.proof import HELD
from relay.probe.protocol.report import Report
from relay.probe.protocol.steps import MAX_WAIT_S, Read, Send, Step, Wait, as_values
from relay.probe.stream import Broken, Stream

_GREETED_WITHIN_S = 10.0  # real; many connections may be opened at once, over a long way


class Trial:
    """One connection, looked at from both ends."""

    def __init__(self, lab: Lab, stream: Stream, number: int, dialled_s: float = 0.0) -> None:
        self.stream = stream
        self.number = number
        self.dialled_s = dialled_s
        """When it was asked for."""
        self.seen = Report(began_s=lab.clock.now_s())
        """What this end saw so far."""
        self._lab = lab

    async def send(self, count: int = 1) -> None:
        """Send so many bytes; what comes of it, `hear` says."""
        try:
            await self.stream.send(b"." * count)
            self._note("sent", count)
        except Broken as broken:
            self._note_break(broken)

    async def hear(self, count: int | None = None) -> None:
        """Note what comes, until that are so many bytes, or until the end; the caller limits it."""
        left = count
        try:
            while not self.seen.end and (left is None or left > 0):
                data = await (self.stream.receive() if left is None else self.stream.receive(left))
                if not data:
                    self._note("fin")
                    return
                self._note("bytes", len(data))
                left = None if left is None else left - len(data)
        except Broken as broken:
            self._note_break(broken)

    async def hear_out(self, count: int | None = None) -> str:
        """As `hear`, for as long as the plan's patience lasts; returns how it ended: `fin`, `rst`, an error's name,
        `bytes` if all have come, or `silence`."""
        with self._lab.clock.patience(self._lab.plan.patience_s):
            await self.hear(count)
            return self.seen.end or "bytes"
        return "silence"

    def state(self) -> dict[str, int]:
        """What this end's kernel has counted."""
        return self.stream.state()

    async def their_report(self) -> Report:
        """What the server saw, once its script is over, and this end is closed; nothing, where the NAT has kept the
        connection from the server."""
        if not await self._has_begun():
            await self._lab.clock.sleep_really(self._lab.plan.patience_s)
            if not await self._has_begun():
                self.stream.close()
                await self._lab.control.ask("forget", number=self.number)
                return Report()
        report = await self._lab.control.report(self.number)
        self.stream.close()
        apart_s = round(report.began_s - self.seen.began_s, 6)
        seen = {"connection": self.number, "client": self.seen.as_values(), "server": report.as_values()}
        self._lab.findings.saw({**seen, "server_began_s": apart_s})
        return report

    async def forget(self) -> Report:
        """End it: have the script end, close this end, and return what the server saw until then."""
        begun = await self._has_begun()
        await self._lab.control.ask("forget", number=self.number)
        if begun:
            return await self.their_report()
        self.stream.close()
        return Report()

    async def _has_begun(self) -> bool:
        return bool((await self._lab.control.ask("begun", number=self.number)).get("begun"))

    def _note(self, what: str, value: Any = None) -> None:
        self.seen.add(self._lab.clock.now_s() - self.seen.began_s, what, value)

    def _note_break(self, broken: Broken) -> None:
        if broken.end == "rst":
            self._note("rst")
        else:
            self._note("error", broken.end)


Opened: TypeAlias = Trial | Failure


class Lab:
    """One run of a probe: its clock, its ways to the server, and what it has found so far."""

    def __init__(
        self, clock: ProbeClock, plan: Plan, control: Control, dialer: Dialer, main: Endpoint, other: Endpoint
    ) -> None:
        self.clock = clock
        self.plan = plan
        self.control = control
        self.dialer = dialer
        self.main = main
        """The server, as it is reached through the NAT."""
        self.other = other
        """The server's other port, likewise."""
        self.findings = Findings()
        self.is_control_beside = False
        """Whether the control connection goes past the NAT."""
        self._streams: list[Stream] = []

    @property
    def round_trip_s(self) -> float:
        """To the server and back by the control connection: real, and a second while it is not known."""
        return min(self.control.round_trip_s, 1.0)

    def close(self) -> None:
        """Close whatever is still open."""
        for stream in self._streams:
            stream.close()

    async def open(
        self, *steps: Step, tos: int | None = None, target: Endpoint | None = None, within_s: float | None = None
    ) -> Opened:
        """Connect to the server, which then does these steps. Their times are of the NAT's clock.

        It is the server's main port, or another way to it; connected within so many real seconds, as by `connect`.
        """
        number = self.control.new_number()
        scaled = tuple(self._scaled(step) for step in steps)
        await self.control.ask("script", number=number, steps=as_values(scaled))
        dialled_s = self.clock.now_s()
        try:
            connected = await self.connect(target or self.main, tos=tos, within_s=within_s)
        except BaseException:
            with anyio.CancelScope(shield=True), anyio.move_on_after(1.0):
                await self.control.ask("forget", number=number)
            raise
        if isinstance(connected, Failure):
            await self.control.ask("forget", number=number)
            return connected
        trial = Trial(self, connected, number, dialled_s)
        try:
            await connected.send(self.control.head(number))
        except Broken as broken:
            trial._note_break(broken)  # noqa: SLF001 - its own part
        return trial

    async def open_greeted(self, *steps: Step, tos: int | None = None) -> Opened:
        """Likewise, when a byte has gone each way; a failure where none does."""
        trial = await self.open(Read(1, self.plan.give_up_s), Send(1), *steps, tos=tos)
        if isinstance(trial, Trial):
            await trial.send()
            with self.clock.patience(_GREETED_WITHIN_S):
                await trial.hear(1)
            if not trial.seen.count("bytes"):
                await trial.forget()
                return Failure(trial.seen.end or "silence")
        return trial

    @asynccontextmanager
    async def holding(self, most: int) -> AsyncIterator[None]:
        """Have the server hold so many connections for the block: those that `held_head` begins.

        Raises:
            RelayError: it does not.
        """
        await self.control.ask("hold", most=most)
        try:
            yield
        finally:
            with anyio.CancelScope(shield=True), anyio.move_on_after(1.0):
                await self.control.ask("hold", most=0)

    def held_head(self) -> bytes:
        """The first bytes of a connection that is only held; the server sends one byte when it has come."""
        return self.control.head(HELD)

    async def open_quiet(self, *steps: Step) -> Opened:
        """As `open_greeted`; what has come is acknowledged, so that the connection is quiet from now on.

        An ACK that came late would meet a NAT that has forgotten the connection, if its clock is hurried.
        """
        trial = await self.open_greeted(*steps)
        if isinstance(trial, Trial):
            trial.stream.acknowledge()
        return trial

    async def connect(self, target: Endpoint, *, tos: int | None = None, within_s: float | None = None) -> Connected:
        """Connect within so many real seconds: the plan's patience, or as long as the caller lets it (math.inf)."""
        limit_s = self.plan.patience_s if within_s is None else None if within_s == math.inf else within_s
        connected = await self.dialer.connect(target, limit_s, tos=tos)
        if isinstance(connected, Stream):
            self._streams = [each for each in self._streams if not each.is_closed]
            self._streams.append(connected)
        return connected

    @asynccontextmanager
    async def other_port(self, state: str, for_s: float = 60.0) -> AsyncIterator[None]:
        """Have the server's other port be `closed`, `open` or a `hole` for the block.

        Raises:
            RelayError: it cannot be.
        """
        await self.control.ask("other", **{"as": state}, for_s=for_s)
        try:
            yield
        finally:
            with anyio.CancelScope(shield=True), anyio.move_on_after(1.0):
                await self.control.ask("other", **{"as": "closed"}, for_s=0)

    def _scaled(self, step: Step) -> Step:
        match step:
            case Read(count, within_s):
                return Read(count, min(within_s / self.clock.scale, MAX_WAIT_S))
            case Wait(seconds):
                return Wait(min(seconds / self.clock.scale, MAX_WAIT_S))
            case _:
                return step


async def use_until_settled(
    lab: Lab, use: Callable[[Lab, float, list[Fate]], Awaitable[None]], ages: Sequence[float], fates: list[Fate]
) -> None:
    """Leave a connection alone for each of these ages, all at the same time, until their fates leave nothing open."""
    async with anyio.create_task_group() as tasks:

        async def use_one(age_s: float) -> None:
            await use(lab, age_s, fates)
            if is_settled(fates, ages):
                tasks.cancel_scope.cancel()

        for age_s in ages:
            tasks.start_soon(use_one, age_s)
