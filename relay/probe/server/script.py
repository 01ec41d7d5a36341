"""Does what a script says on one connection, and notes what came of it."""

from __future__ import annotations

from collections.abc import Mapping

import anyio

from relay.probe.clock import ProbeClock
from relay.probe.protocol.report import Report
from relay.probe.protocol.steps import Do, Read, Send, Step, Wait
from relay.probe.stream import Broken, Stream

_SEND_WITHIN_S = 30.0  # real; a peer that takes nothing for so long takes no more


class Script:
    """The steps of one connection, and its report."""

    def __init__(self, steps: tuple[Step, ...], clock: ProbeClock) -> None:
        self.steps = steps
        self.report = Report()
        self.began_s = 0.0
        """When its connection came, by this end's clock."""
        self.scope = anyio.CancelScope()
        self.is_done = False
        self._clock = clock
        self._reads = True
        self._syn: Mapping[str, int] = {}

    async def perform(self, stream: Stream, syn: Mapping[str, int]) -> None:
        """Do the steps, until the last one or until the connection is broken; then close it."""
        self._syn = syn
        try:
            with self.scope:
                for step in self.steps:
                    await self._do(step, stream)
        except Broken as broken:
            self._note_break(broken)
        finally:
            stream.close()
            self.is_done = True

    async def _do(self, step: Step, stream: Stream) -> None:
        match step:
            case Read(count, within_s):
                with self._clock.limit(within_s):
                    await self._take_in(stream, count)
            case Wait(seconds):
                await self._wait(stream, seconds)
            case Send(count):
                with self._clock.limit_really(_SEND_WITHIN_S):
                    await stream.send(b"." * count)
                    self._note("sent", count)
            case Do("fin"):
                stream.finish()
            case Do("rst"):
                stream.reset()
            case Do("close"):
                stream.close()
            case Do("stop-reading"):
                self._reads = False
                stream.shrink()
            case Do("report"):
                self._note("state", {**stream.state(), **self._syn})
                self._syn = {}  # once: all of a report fits into a line
            case _:
                raise AssertionError(step)

    async def _wait(self, stream: Stream, seconds: float) -> None:
        stream.acknowledge()
        if self._reads and not self.report.end:
            until_s = self._clock.now_s() + seconds
            with self._clock.limit(seconds):
                await self._take_in(stream)
            seconds = until_s - self._clock.now_s()
        if seconds > 0:
            await self._clock.sleep(seconds)

    async def _take_in(self, stream: Stream, count: int | None = None) -> None:
        """Note what comes until that are so many bytes, or until the peer's end."""
        left = count
        while left is None or left > 0:
            data = await stream.receive() if left is None else await stream.receive(left)
            if not data:
                if not self.report.end:
                    self._note("fin")
                return
            self._note("bytes", len(data))
            left = None if left is None else left - len(data)

    def _note(self, what: str, value: object = None) -> None:
        self.report.add(self._clock.now_s() - self.began_s, what, value)

    def _note_break(self, broken: Broken) -> None:
        if broken.end == "rst":
            self._note("rst")
        else:
            self._note("error", broken.end)
