"""The relay's process as the soak sees it: commands to it, and its records, sorted by the flow that they are about.

A destination that is awaited has one flow at a time, so a flow that opens toward it is that one. The flows of
initiators that vanish all go to one port, where they are only counted.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from asyncio.subprocess import PIPE, Process
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

_LINE_BYTES = 1 << 20
_STOP_S = 20.0


class Tale:
    """What the relay has recorded about one flow so far."""

    def __init__(self) -> None:
        self.records: list[tuple[str, dict[str, Any]]] = []
        self.connected = asyncio.Event()
        self.ended = asyncio.Event()

    def fields(self, event: str) -> dict[str, Any]:
        """Those of the first such record, or none at all."""
        return next((fields for name, fields in self.records if name == event), {})

    def __str__(self) -> str:
        return "\n".join(f"    {event} {json.dumps(fields)}" for event, fields in self.records) or "    nothing"


class Subject:
    """The relay under soak."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._replies: asyncio.Queue[Any] = asyncio.Queue()
        self._asking = asyncio.Lock()
        self._awaited: dict[str, Tale] = {}
        self._told: dict[int, Tale] = {}
        self.pid = process.pid
        self.proxy_port = 0
        self.uncounted: set[str] = set()
        """Destinations whose flows are not told one by one."""
        self.events: Counter[str] = Counter()
        self.complaints: list[str] = []
        """What the relay should never have had to say."""
        self.fidelity: dict[str, str] = {}

    def expect(self, destination: str) -> Tale:
        """The tale of the next flow toward this destination."""
        tale = self._awaited[destination] = Tale()
        return tale

    async def command(self, do: str, **fields: Any) -> Any:
        """Have the relay do something, and return what it replies."""
        async with self._asking:
            assert self._process.stdin is not None
            self._process.stdin.write(json.dumps({"do": do, **fields}).encode() + b"\n")
            return await self.reply()

    async def reply(self) -> Any:
        return await self._replies.get()

    async def listen(self) -> None:
        """Sort what it says, for as long as it speaks."""
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            said = json.loads(line)
            if "reply" in said:
                self._replies.put_nowait(said["reply"])
            else:
                self._sort(said["event"], said["flow"], said["fields"])

    async def listen_to_errors(self) -> None:
        """Whatever it says on standard error is a complaint."""
        assert self._process.stderr is not None
        if said := await self._process.stderr.read():
            self.complaints.append(f"it says on standard error:\n{said.decode(errors='replace')}")

    def _sort(self, event: str, flow: int | None, fields: dict[str, Any]) -> None:
        self.events[event] += 1
        if event == "relay-started":
            self.fidelity = fields["fidelity"]
        elif event in {"fault", "accept-paused"}:
            self.complaints.append(f"{event}: {json.dumps(fields)}")
        if flow is None:
            return
        if event == "flow-opened":
            tale = self._awaited.pop(fields["destination"], None)
            if tale is not None:
                self._told[flow] = tale
            elif fields["destination"] not in self.uncounted:
                self.complaints.append(f"a flow that the soak did not open: {json.dumps(fields)}")
        if (tale := self._told.get(flow)) is None:
            return
        tale.records.append((event, fields))
        if event == "flow-connected":
            tale.connected.set()
        if event == "flow-ended":
            del self._told[flow]
            tale.ended.set()

    async def stop(self) -> None:
        """End it, in order; that it cannot is one more complaint."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            status = await asyncio.wait_for(self._process.wait(), _STOP_S)
        except TimeoutError:
            self._process.kill()
            self.complaints.append(f"it did not end within {_STOP_S:g} s of SIGTERM")
        else:
            if status:
                self.complaints.append(f"it ended with status {status}")


@contextlib.asynccontextmanager
async def run_subject(backend: str, profile: str, seed: int) -> AsyncIterator[Subject]:
    """A relay in a process of its own; whatever it says on standard error is a complaint."""
    command = (sys.executable, "-m", "bench.soak.relay_process", backend, profile, str(seed))
    process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE, stderr=PIPE, limit=_LINE_BYTES)
    subject = Subject(process)
    listening = asyncio.gather(subject.listen(), subject.listen_to_errors())
    try:
        subject.proxy_port = await asyncio.wait_for(subject.reply(), _STOP_S)
        yield subject
    finally:
        await subject.stop()
        await listening
