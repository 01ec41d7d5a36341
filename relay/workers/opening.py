"""Starts and stops a relay's workers, after it has found that the host can serve with that many processes."""

from __future__ import annotations

import contextlib
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio

from relay.config import RelayConfig
from relay.errors import ConfigError, Unsupported
from relay.log import EventLog
from relay.workers.merging import MergedLog
from relay.workers.parent import Workers
from relay.workers.standing import Standing

MAX_WORKERS = 64
_STOP_S = 5.0  # for workers to reset their flows and say so


def check_workers(count: int, config: RelayConfig) -> None:
    """Insist that `count` processes can serve this here.

    Raises:
        ConfigError: the number is too large, or too small.
        Unsupported: this host does not spread connections.
    """
    if not 1 <= count <= MAX_WORKERS:
        raise ConfigError(f"--workers: {count} is out of range", hint=f"give 1 to {MAX_WORKERS}, one for each core")
    if count > 1 and not (sys.platform == "linux" and hasattr(socket, "SO_REUSEPORT")):
        raise Unsupported(
            f"--workers: this system does not spread connections over {count} listeners",
            hint="leave --workers out, or use relay on Linux",
        )
    if config.max_flows is not None and config.max_flows < count:
        raise ConfigError(
            f"--workers: {count} of them cannot share --max-flows {config.max_flows}",
            hint="raise --max-flows or start fewer",
        )


@asynccontextmanager
async def open_workers(
    config: RelayConfig, log: EventLog, *, count: int, backend: str, tell: bool = True
) -> AsyncIterator[Workers]:
    """Serve in `count` processes for as long as the block lasts; without `tell` the log has no record of flows.

    Raises:
        ConfigError: an address cannot be listened on, or dialled from, or the observer is unknown.
        Unsupported: the observer cannot work here, or `strict` was asked for and a quirk is impossible.
        RelayError: workers keep dying, at the beginning or later.
    """
    failure: BaseException | None = None
    merged = MergedLog(log)
    with contextlib.closing(Standing(config, merged)) as standing:
        workers = Workers(standing, log, merged, count, backend, tell=tell)
        try:
            await workers.start()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(workers.attend)
                try:
                    with workers.body:
                        yield workers
                except anyio.get_cancelled_exc_class():
                    raise
                except BaseException as raised:
                    failure = raised
                finally:
                    workers.stop()
                    tasks.cancel_scope.deadline = anyio.current_time() + _STOP_S
            workers.end_stragglers()
        finally:
            workers.kill()
            merged.finish()
    log.emit("relay-stopped", flows_ended=workers.flows_ended)
    if (failed := failure or workers.failure) is not None:
        raise failed
