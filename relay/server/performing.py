"""What each command does to a relay of one process; `relay.control` says what it means and returns."""

from __future__ import annotations

import anyio

from relay.config import check_advance, check_time_scale
from relay.control import (
    Adjust,
    AdjustForward,
    Advance,
    CloseForward,
    Command,
    CountUp,
    Drain,
    Freeze,
    LiftFault,
    LinkDown,
    ListFaults,
    ListFlows,
    OpenFlow,
    OpenForward,
    ResolveAs,
    SetFault,
    SetSeed,
    SetTimeScale,
    Thaw,
)
from relay.driver import Driver, Flow, advance
from relay.errors import RelayBug
from relay.log import EventLog, Record
from relay.loop.settling import Steps, finish, follow
from relay.server.listeners import Listeners


class Commands:
    """Performs commands on the flows and the listeners of one relay."""

    def __init__(self, driver: Driver, listeners: Listeners, log: EventLog, *, in_step: bool) -> None:
        """`in_step`: an advance of the clock is one of several relays', which move together."""
        self._driver = driver
        self._listeners = listeners
        self._log = log
        self._in_step = in_step
        self._advances = anyio.Lock()

    async def perform_beside(self, command: Command[object]) -> object:
        """`perform`, where other tasks go on while a command waits for something."""
        if not isinstance(command, Advance):
            return self.perform(command)
        async with self._advances:
            return await follow(self._driver.engine, self._advance(command, waits=True))

    def perform(self, command: Command[object]) -> object:
        """Carry out a command, and return what it gives."""
        driver = self._driver
        match command:
            case Freeze(side):
                driver.freeze(side)
            case Thaw(side):
                driver.thaw(side)
            case LinkDown():
                driver.link_down()
            case Adjust(settings):
                self._listeners.adjust(settings)
                self._log.emit("settings-changed", settings=list(settings))
            case OpenForward(spec, initiator):
                return self._listeners.open_forward(spec, initiator)
            case AdjustForward(address, settings):
                self._listeners.adjust_forward(address, settings)
                self._log.emit("forward-changed", forward=str(address), settings=list(settings))
            case ResolveAs(override):
                driver.resolve_as(override)
            case SetFault(name, fault, forward):
                self._listeners.demand_forward(forward)
                driver.faults.set(name, fault, forward)
            case LiftFault(name, forward):
                return driver.faults.lift(name, forward)
            case ListFaults():
                return [SetFault(*each) for each in driver.faults.all()]
            case SetTimeScale(scale):
                check_time_scale(scale, where="scale")
                driver.engine.nat.scale = scale
            case Advance():
                return finish(driver.engine, self._advance(command, waits=False))
            case SetSeed(seed):
                driver.reseed(seed)
            case CloseForward(address):
                self._listeners.close_forward(address)
                return driver.end_forward(address)
            case CountUp():
                return driver.totals
            case ListFlows():
                return [_open_flow(flow) for _, flow in sorted(driver.flows.items())]
            case Drain(at_most_s):
                self._listeners.close()
                self._log.emit("relay-draining", flows=len(driver.flows), at_most_s=at_most_s)
                return len(driver.flows)
            case _:
                raise RelayBug(f"{command!r} is carried out nowhere")
        return None

    def _advance(self, command: Advance, *, waits: bool) -> Steps[list[Record]]:
        check_advance(command.seconds, command.keepalive)
        credit = command.keepalive == "credit"
        return advance(self._driver, command.seconds, credit=credit, waits=waits, in_step=self._in_step)


def _open_flow(flow: Flow) -> OpenFlow:
    bytes_out, bytes_in = flow.carried_bytes
    received_out, received_in = flow.received_bytes
    peer = flow.client_end()
    return OpenFlow(
        number=flow.number,
        client=str(peer) if peer is not None else "",
        destination=str(flow.destination) if flow.destination is not None else "",
        process=flow.log.process,
        forward=flow.forward,
        bytes_out=bytes_out,
        bytes_in=bytes_in,
        received_out=received_out,
        received_in=received_in,
        age_s=round(flow.now_s() - flow.log.started_s, 6),
    )
