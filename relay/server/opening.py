"""Puts a relay together, from the survey of this host to its listeners, and takes it apart again in order."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import anyio

from relay.config import RelayConfig
from relay.debug import show_traceback, traceback_of
from relay.driver import Driver, Limits
from relay.fidelity import WayIn, assess, demand_possible
from relay.frontends import FrontEnd
from relay.frontends.listening import ForwardFrontEnd, ProxyFrontEnd
from relay.log import EventLog
from relay.loop.engine import Engine
from relay.net.connect import Connector, demand_own
from relay.observe import survey
from relay.profiles import forward_profile
from relay.server.relay import Relay, Share


@asynccontextmanager
async def open_relay(
    config: RelayConfig,
    log: EventLog | None = None,
    *,
    share: Share | None = None,
    front_ends: Sequence[FrontEnd] = (),
) -> AsyncIterator[Relay]:
    """Serve for as long as the block lasts; with a `share`, on addresses that others serve on as well.

    `front_ends` are more ways in than the configuration names: a guest's link, for instance.

    Raises:
        ConfigError: an address cannot be listened on, or dialled from, or the observer is unknown.
        Unsupported: the observer cannot work here, or `strict` was asked for and a quirk is impossible.
    """
    log = log if log is not None else EventLog()
    surveyed = survey(config.observer)
    assessed = assess(config.profile, surveyed, [*ways_in(config), *(each.support for each in front_ends)])
    if config.strict:
        demand_possible(assessed)
        for spec in (*config.forwards, *config.inbound):
            if spec.settings:
                own = forward_profile(config.profile, spec.settings)
                demand_possible(assess(own, surveyed, [ForwardFrontEnd.support]))
    if config.source is not None:
        demand_own(config.source)
    failure: BaseException | None = None
    async with AsyncExitStack() as after_tasks, anyio.create_task_group() as tasks:
        log.clock.scale = config.time_scale
        if config.clock == "manual":
            log.clock.stop()
        engine = Engine(tasks, on_fault=lambda fault: _report(log, fault), clock=log.clock)
        after_tasks.callback(engine.close)  # its loop may be about to begin, or to resume: it must find the epoll open
        limits = Limits(
            handshake_timeout_s=config.handshake_timeout_s,
            max_flows=config.max_flows,
        )
        first_flow, flow_step = (share.first_flow, share.of) if share is not None else (1, 1)
        try:
            with contextlib.closing(surveyed.open(engine)) as observers:
                connector = Connector(
                    engine,
                    overrides=config.resolve,
                    source=config.source,
                    timeout_s=config.connect_timeout_s,
                    abilities=observers,
                )
                driver = Driver(
                    engine,
                    connector,
                    config.profile,
                    log,
                    limits,
                    config.seed,
                    first_flow=first_flow,
                    flow_step=flow_step,
                )
                relay = Relay(config, log, driver, observers, assessed, share, front_ends)
                try:
                    relay.open_listeners()
                    tasks.start_soon(engine.run)
                    yield relay
                finally:
                    flows_ended = relay.stop()
                    # Not before the last flow's own records, which may be held back until their process is known.
                    after_tasks.callback(log.emit, "relay-stopped", flows_ended=flows_ended)
        except anyio.get_cancelled_exc_class():
            raise
        except BaseException as raised:
            failure = raised  # Ctrl-C and a test's own skip too: a task group would wrap it
        finally:
            tasks.cancel_scope.cancel()
    if failure is not None:
        raise failure


def ways_in(config: RelayConfig) -> list[WayIn]:
    """How connections come in, for `assess`."""
    ways: list[WayIn] = []
    if config.listen is not None:
        ways.append(ProxyFrontEnd.support)
    if config.forwards or config.inbound:
        ways.append(ForwardFrontEnd.support)
    return ways


def _report(log: EventLog, fault: Exception) -> None:
    log.emit("fault", error=f"{type(fault).__name__}: {fault}", traceback=traceback_of(fault))
    show_traceback(fault)
