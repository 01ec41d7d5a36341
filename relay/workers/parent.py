"""The parent of the workers: it commands them, merges their records, and replaces those that die."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TypeVar, cast

import anyio

from relay.address import Endpoint
from relay.clock import real_s
from relay.control import (
    Advance,
    CloseForward,
    Command,
    CountUp,
    Drain,
    LiftFault,
    LinkDown,
    ListFaults,
    ListFlows,
    OpenFlow,
    OpenForward,
)
from relay.errors import RelayError
from relay.events import Side
from relay.fidelity import QuirkFidelity
from relay.log import EventLog, Record
from relay.profiles import Profile
from relay.server import Share, emit_started
from relay.totals import Totals
from relay.workers.channel import Done, Start
from relay.workers.merging import MergedLog
from relay.workers.process import Answer, WorkerProcess
from relay.workers.standing import Standing

MAX_DEATHS = 3
DEATHS_WITHIN_S = 60.0
_SAID_ONCE = frozenset(
    {"relay-draining", "link-down", "frozen", "thawed", "settings-changed", "forward-changed", "time-advanced"}
    | {"fault-set", "fault-lifted"}
)
"""The records of what all workers do, which the parent makes."""
ResultT = TypeVar("ResultT")


class Workers:
    """A relay that several processes serve; made by `open_workers`."""

    def __init__(
        self, standing: Standing, log: EventLog, merged: MergedLog, count: int, backend: str, *, tell: bool
    ) -> None:
        config = self.config = standing.config
        self.log = log
        self.fidelity: list[QuirkFidelity] = []
        self.address = config.listen
        self.forward_addresses = [spec.bind for spec in config.forwards]
        self.inbound_addresses = [spec.bind for spec in config.inbound]
        self.targets = {spec.bind: spec.target for spec in (*config.forwards, *config.inbound)}
        self.wire: list[str] = []  # a guest has one process
        self.count = count
        self.failure: RelayError | None = None
        """What ended the relay, if that was a failure and not a command."""
        self.body = anyio.CancelScope()
        """What is cancelled then."""
        self.flows_ended = 0
        """How many flows the stop has ended."""
        self._replaced = Totals()  # what the flows come to of workers that were
        self._merged = merged
        self._standing = standing
        self._backend = backend
        self._tell = tell
        self._workers: list[WorkerProcess] = []
        self._deaths: deque[float] = deque(maxlen=MAX_DEATHS)
        self._stopping = False

    async def do(self, command: Command[ResultT]) -> ResultT:
        """Have every worker carry out a command, and wait until all have; see `relay.control`.

        Workers that start later begin with what it has changed. One that dies meanwhile is not waited for. Once the
        last flow of a worker that carries out `Drain` has ended, or after its `at_most_s`, the worker ends.

        Raises:
            ConfigError: it cannot be carried out as it is, and nothing was changed.
            RelayError: a worker alone could not carry it out.
        """
        taken = self._standing.take(command)
        if isinstance(taken, Drain):
            self._stopping = True
        if isinstance(taken, Advance):
            await _all_of(self._ask(replace(taken, seconds=0.0)))  # all workers rest before the first clock is moved
        answers = self._ask(taken)
        if isinstance(taken, Advance):
            self._standing.move_clock(taken.seconds)
        return cast("ResultT", self._result_of(taken, await _all_of(answers)))

    limited = staticmethod(anyio.move_on_after)

    carry_out = do
    """By the name that a relay of one process has it by."""

    @property
    def profile(self) -> Profile:
        """What flows are made with from now on."""
        return self._standing.config.profile

    @property
    def forward_settings(self) -> Mapping[Endpoint, tuple[str, ...]]:
        """The settings of their own that forwards have, by where they listen."""
        return self._standing.forward_settings

    def _result_of(self, command: Command[object], done: list[Done]) -> object:
        match command:
            case OpenForward(spec, initiator):
                addresses = self.inbound_addresses if initiator is Side.EXTERNAL else self.forward_addresses
                addresses.append(spec.bind)
                self.targets[spec.bind] = spec.target
                return spec.bind
            case LiftFault():
                return any(each.result for each in done)
            case Drain(at_most_s):
                flows = sum(cast("int", each.result) for each in done)
                self._merged.emit("relay-draining", flows=flows, at_most_s=at_most_s)
                return flows
            case Advance(seconds):
                caused = [record for each in done for record in cast("list[Record]", each.result)]
                caused = [record for record in caused if record.event not in _SAID_ONCE]
                end = self._merged.emit("time-advanced", by_s=seconds)
                return [*sorted(caused, key=lambda record: record.at_s), end]
            case CloseForward(address):
                for addresses in (self.forward_addresses, self.inbound_addresses):
                    if address in addresses:
                        addresses.remove(address)
                self.targets.pop(address, None)
                return sum(cast("int", each.result) for each in done)
            case ListFlows():
                listed = [flow for each in done for flow in cast("list[OpenFlow]", each.result)]
                return sorted(listed, key=lambda flow: flow.number)
            case ListFaults():
                return next((each.result for each in done), [])  # all workers have the same
            case CountUp():
                return _sum_of([self._replaced, *(cast("Totals", each.result) for each in done)])
            case _:
                return None

    @property
    def totals(self) -> Totals:
        """What all flows so far come to, by what each worker has said last: at its end, and half a second before it at
        the latest where it died."""
        return _sum_of([self._replaced, *(worker.totals for worker in self._workers)])

    async def count_up(self) -> Totals:
        """What all flows so far come to, now; of those of a worker that died as in `totals`."""
        return await self.do(CountUp())

    def link_down(self) -> None:
        """Have every flow act on the host's network link going down, without waiting for it."""
        self._ask(self._standing.take(LinkDown()))

    async def drain(self, at_most_s: float) -> None:
        """Accept nothing more, and wait until the last flow has ended, for a bounded time."""
        with anyio.move_on_after(at_most_s):
            await self.do(Drain(at_most_s))
            for worker in self._workers:
                await worker.gone.wait()

    async def start(self) -> None:
        """Have all workers serve, or raise what keeps one of them from it; `open_workers` does."""
        for number in range(1, self.count + 1):
            self._workers.append(self._spawn(number, first_flow=number))
        for worker in self._workers:
            self.fidelity = await worker.ready()
        emit_started(self, workers=self.count)
        for worker in self._workers:
            self.log.emit("worker-started", worker=worker.number, pid=worker.pid)

    async def attend(self) -> None:
        """Listen to all workers, until they are to stop."""
        async with anyio.create_task_group() as merging:
            merging.start_soon(self._merged.run)
            async with anyio.create_task_group() as tasks:
                for place in range(self.count):
                    tasks.start_soon(self._attend, place)
            merging.cancel_scope.cancel()
        self._merged.finish()

    async def _attend(self, place: int) -> None:
        """Listen to one worker, and to those that replace it, until they are to stop."""
        worker = self._workers[place]
        while True:
            await self._hear_out(worker)
            status = await worker.ended()
            if status or not self._stopping:
                self._tell_death(worker, status or "exit code 0")
            if self._stopping:
                return
            try:
                worker = await self._replace(place, worker, status)
            except RelayError as error:
                self.failure = error
                self.body.cancel()
                return

    def stop(self) -> None:
        """Have all workers end now."""
        self._stopping = True
        for worker in self._workers:
            worker.channel.close_sending()

    def end_stragglers(self) -> None:
        """Kill workers that have not ended in time, and record it."""
        for worker in self._workers:
            if worker.is_running:
                worker.kill()
                self._tell_death(worker, "SIGKILL, for it did not stop")

    def kill(self) -> None:
        """Leave no worker behind."""
        for worker in self._workers:
            worker.kill()

    def _ask(self, command: Command[object]) -> list[Answer]:
        return [worker.ask(command) for worker in self._workers]

    def _tell_death(self, worker: WorkerProcess, status: str) -> None:
        self._merged.emit("worker-died", worker=worker.number, pid=worker.pid, status=status)

    def _spawn(self, number: int, first_flow: int) -> WorkerProcess:
        share = Share(first_flow=first_flow, of=self.count)
        config = self._standing.config
        if config.max_flows is not None:
            part, rest = divmod(config.max_flows, self.count)
            config = replace(config, max_flows=part + (number <= rest))
        start = Start(config, share, self.log.clock, self._tell, self._standing.replayed)
        return WorkerProcess(number, start, self._backend)

    async def _replace(self, place: int, dead: WorkerProcess, status: str) -> WorkerProcess:
        now_s = real_s()
        if len(self._deaths) == MAX_DEATHS and now_s - self._deaths[0] < DEATHS_WITHIN_S:
            raise RelayError(
                f"--workers: {MAX_DEATHS + 1} of them died within {DEATHS_WITHIN_S:g} s, the last of {status}",
                hint="is this host out of memory? without --workers one process serves",
            )
        self._deaths.append(now_s)
        # Among the workers from now on: what is commanded while it starts waits in its channel.
        worker = self._workers[place] = self._spawn(dead.number, dead.next_flow)
        self._replaced.add(dead.totals)
        try:
            await worker.ready()
        except BaseException:
            worker.kill()
            raise
        self._merged.emit("worker-started", worker=worker.number, pid=worker.pid)
        return worker

    async def _hear_out(self, worker: WorkerProcess) -> None:
        while True:
            try:
                message = await worker.channel.receive()
            except EOFError:
                return
            match message:
                case Done():
                    worker.take(message)
                case Totals():
                    worker.totals = message
                case Record(event="relay-stopped"):
                    self.flows_ended += message.fields["flows_ended"]
                case Record(event=event) if event in _SAID_ONCE:
                    pass
                case Record():
                    if message.flow is not None:
                        worker.next_flow = max(worker.next_flow, message.flow + self.count)
                    self._merged.put(message)


async def _all_of(answers: list[Answer]) -> list[Done]:
    """What the workers say that have not died meanwhile.

    Raises:
        RelayError: one could not carry out the command.
    """
    done = [given for answer in answers if (given := await answer.wait()) is not None]
    for each in done:
        if each.error is not None:
            raise each.error
    return done


def _sum_of(parts: Iterable[Totals]) -> Totals:
    whole = Totals()
    for each in parts:
        whole.add(each)
    return whole
