"""An advance of the NAT's clock: the flows come to rest, then what is due happens, one thing after the other.

A flow is at rest when nothing that it carries is on its way within this host: the relay has read all that has come,
and every byte that it wrote has been sent. A peer on this host may leave unread what it was sent. Before the first
thing is due, such peers must have sent all that they wrote, for their kernels may pace that. A side that is frozen, or
over, is not waited for.

Dials and look-ups of names that are under way are not waited for, either: they end by the real clock.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from relay.clock import real_s
from relay.driver.presuming import presume_no_more, presume_probes, tell_what_stays
from relay.errors import Unsettled
from relay.events import Side
from relay.legs import Leg
from relay.legs.in_front import last_leg
from relay.log import Record
from relay.loop.settling import SETTLE_S, Restless, Steps, advancing, settling

if TYPE_CHECKING:
    from relay.driver.driver import Driver
    from relay.driver.flow import Flow

_WATCHED_S = 0.1  # to find out which flow it is that does not rest
_RECORDS_WITHIN_S = 0.3  # until the processes of flows that have just come are known
_LOOK_AGAIN_S = 0.002
_WHO = {Side.INTERNAL: "the app", Side.EXTERNAL: "the server"}


def advance(driver: Driver, seconds: float, *, credit: bool, waits: bool, in_step: bool = False) -> Steps[list[Record]]:
    """Let `seconds` pass on the NAT's clock; gives the records of what that caused, in order.

    With `credit` the keepalive probes count that peers would send meanwhile, as far as they are known. With `waits`
    records are waited for that are held back until a process is known. A clock that goes `in_step` with others is moved
    in any case: what does not happen in order then happens late.

    Raises:
        Unsettled: a flow does not come to rest. If that is before anything was due, nothing has changed; later the
            clock stands at the moment that it had come to.
    """
    engine, log = driver.engine, driver.log
    try:
        yield from settling(engine, lambda: not (waits and driver.holds_records) and _rest(driver, peers=True))
    except Restless:
        if in_step:
            engine.nat.skip(seconds)
        raise _unsettled(driver) from None
    caused: list[Record] = []
    end = log.subscribe(caused.append)
    try:
        failure: Unsettled | None = None
        by_s = seconds
        for flow in driver.flows.values():
            tell_what_stays(flow, seconds)
            if credit:
                presume_probes(flow, seconds)
        try:
            yield from advancing(engine, seconds, partial(_rest, driver, lightly=True))
            yield from settling(engine, partial(_rest, driver))
        except Restless as restless:
            failure, by_s = _unsettled(driver), seconds if restless.moved_s is None else restless.moved_s
        for flow in driver.flows.values():
            presume_no_more(flow)
        if in_step:
            engine.nat.skip(seconds - by_s)
        log.emit("time-advanced", by_s=by_s)
        until_s = real_s() + _RECORDS_WITHIN_S
        while waits and driver.holds_records and real_s() < until_s:
            yield _LOOK_AGAIN_S
    finally:
        end()
    if failure is not None:
        raise failure
    return caused


def _rest(driver: Driver, *, lightly: bool = False, peers: bool = False) -> bool:
    """Whether all flows rest. `lightly` asks the legs alone, not their kernels; with `peers` the peers on this host
    must have sent all that they wrote, too."""
    if lightly:
        return not any(
            last_leg(leg).has_unsent and _counts(flow, leg) for flow in driver.flows.values() for leg in flow.legs
        )
    return not any(_waiting(flow, peers=peers) for flow in driver.flows.values())


def _waiting(flow: Flow, *, peers: bool = False) -> str:
    """What keeps a flow from resting; empty if nothing does."""
    legs = [leg for leg in flow.legs if _counts(flow, leg)]
    for leg in legs:
        if waiting_bytes := leg.waiting_bytes():
            return f"{waiting_bytes} B wait for {_WHO[leg.side]} to read"
    if peers and flow.moved_bytes is not None and not any(leg.frozen for leg in flow.legs):
        for leg in legs:
            if (peer := leg.look_at_peer()) is not None and peer.unsent_bytes:
                return f"{_WHO[leg.side]} has still {peer.unsent_bytes} B to send"
    return ""


def _counts(flow: Flow, leg: Leg) -> bool:
    return not (leg.frozen or leg.closed or flow.machine.is_over(leg.side))


def _unsettled(driver: Driver) -> Unsettled:
    """The error that names what does not rest."""
    found = _first_waiting(driver, peers=False) or _busiest(driver) or _first_waiting(driver, peers=True)
    if found is None:
        hint = "wait until the connections that come in just now have been made"
        return Unsettled(f"advance: the relay does not settle within {SETTLE_S:g} s: it has always work", hint=hint)
    flow, why = found
    hint = "let it come to rest or end it before time is moved on; a side that is frozen is not waited for"
    return Unsettled(f"advance: {_named(flow)} does not settle within {SETTLE_S:g} s: {why}", hint=hint)


def _first_waiting(driver: Driver, *, peers: bool) -> tuple[Flow, str] | None:
    return next(((flow, why) for flow in driver.flows.values() if (why := _waiting(flow, peers=peers))), None)


def _busiest(driver: Driver) -> tuple[Flow, str] | None:
    """The flow that carries the most just now, if one carries anything."""
    before = {flow: flow.moved_bytes or 0 for flow in driver.flows.values()}
    until_s = real_s() + _WATCHED_S
    while (now_s := real_s()) < until_s:
        driver.engine.work(until_s, until_s - now_s)
    moved = {flow: (flow.moved_bytes or 0) - moved_bytes for flow, moved_bytes in before.items()}
    flow = max(moved, key=lambda each: moved[each], default=None)
    if flow is None or not moved[flow]:
        return None
    return flow, f"it goes on carrying, {moved[flow]} B in the last {_WATCHED_S * 1000:g} ms"


def _named(flow: Flow) -> str:
    process = flow.log.process
    who = f"{process[1]}[{process[0]}]" if process is not None else str(flow.client_end() or "a client that is gone")
    return f"flow #{flow.number} ({who} to {flow.destination or 'no destination'})"
