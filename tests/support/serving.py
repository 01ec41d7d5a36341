"""A relay in the test's own event loop, and its records."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import anyio

from relay.config import configure
from relay.frontends import FrontEnd
from relay.log import EventLog, Record
from relay.server import Relay, Share, open_relay
from support.bench import DEADLINE_S


@dataclass(frozen=True)
class Serving:
    """The relay, and what has happened so far."""

    relay: Relay
    records: list[Record]

    def fields(self, event: str) -> dict[str, Any]:
        """The fields of the only record of this event."""
        (record,) = (each for each in self.records if each.event == event)
        return dict(record.fields)

    def events(self) -> list[str]:
        """What has happened since it began to serve, by name."""
        return [str(each.event) for each in self.records[1:]]

    async def until_flows(self, count: int) -> None:
        """Wait until so many flows are open."""
        with anyio.fail_after(DEADLINE_S):
            while self.relay.flow_count != count:  # noqa: ASYNC110 - the relay's own task counts
                await anyio.sleep(0.001)


@asynccontextmanager
async def serving(
    profile: str = "transparent", *, share: Share | None = None, front_ends: Sequence[FrontEnd] = (), **options: Any
) -> AsyncIterator[Serving]:
    """Serve while the block lasts; without an address for one there is no proxy."""
    listens = not options.keys().isdisjoint({"listen", "forwards", "inbound"})
    config = configure(profile, **{"listen": None, "observer": "none", "has_guests": not listens, **options})
    log, records = EventLog(), list[Record]()
    log.subscribe(records.append)
    async with open_relay(config, log, share=share, front_ends=front_ends) as relay:
        yield Serving(relay, records)
