"""A relay for code that has no event loop: tests, scripts, a REPL.

    with serve_in_thread("vmware-fusion") as nat:
        requests.get(url, proxies={"http": nat.socks_url})
        nat.wait_for("flow-ended", because="tos-reset")

The relay runs in a thread and an event loop of its own; everything offered here may be called from any other thread.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from anyio.from_thread import BlockingPortal, start_blocking_portal

from relay.address import Endpoint, parse_forward, parse_resolve
from relay.config import configure
from relay.eventlog import EventLog, Record
from relay.events import Side
from relay.profiles import Profile
from relay.server import Relay, open_relay
from relay.textlog import describe


class RunningRelay:
    """A relay that serves in another thread."""

    def __init__(self, portal: BlockingPortal, relay: Relay, records: Records) -> None:
        self._portal = portal
        self._relay = relay
        self._records = records

    @property
    def address(self) -> Endpoint:
        """Where the proxy listens."""
        assert self._relay.address is not None, "started with listen=None"  # noqa: S101
        return self._relay.address

    @property
    def forward_addresses(self) -> list[Endpoint]:
        """Where each forward listens, in the order they were given."""
        return list(self._relay.forward_addresses)

    @property
    def inbound_addresses(self) -> list[Endpoint]:
        """Where each inbound forward listens, in the order they were given."""
        return list(self._relay.inbound_addresses)

    @property
    def socks_url(self) -> str:
        """For clients that are to leave name resolution to the relay."""
        return self.url("socks5h")

    @property
    def http_url(self) -> str:
        return self.url("http")

    def url(self, scheme: str) -> str:
        """The proxy's URL under a scheme of the client's liking; credentials are not in it."""
        return f"{scheme}://{self.address}"

    @property
    def records(self) -> list[Record]:
        """Everything that has happened so far."""
        return self._records.snapshot()

    @property
    def flow_count(self) -> int:
        """How many flows are open."""
        return self._relay.flow_count

    def wait_for(self, event: str, *, timeout_s: float = 5.0, **fields: Any) -> Record:
        """The first record of this event whose fields have these values, once there is one.

        Raises:
            AssertionError: there was none in time; the message lists what did happen.
        """
        return self._records.wait_for(event, timeout_s, fields)

    def forward(self, spec: str) -> Endpoint:
        """Open one more forward, `[BIND:]PORT:HOST:PORT`, and return where it listens."""
        return self._portal.call(self._relay.forward, parse_forward(spec, where="forward"))

    def forward_inbound(self, spec: str) -> Endpoint:
        """Likewise, toward the guest."""
        return self._portal.call(self._relay.forward, parse_forward(spec, where="forward_inbound"), Side.EXTERNAL)

    def resolve(self, spec: str) -> None:
        """Answer a name ourselves from now on: `NAME:PORT:ADDRESS`."""
        self._portal.call(self._relay.resolve_as, parse_resolve(spec, where="resolve"))

    def link_down(self) -> None:
        """Tell every flow that the host's network link went down."""
        self._portal.call(self._relay.link_down)


class Records:
    """The event log as a list that can be waited on."""

    def __init__(self) -> None:
        self._records: list[Record] = []
        self._added = threading.Condition()

    def __call__(self, record: Record) -> None:
        with self._added:
            self._records.append(record)
            self._added.notify_all()

    def snapshot(self) -> list[Record]:
        with self._added:
            return list(self._records)

    def wait_for(self, event: str, timeout_s: float, fields: dict[str, Any]) -> Record:
        deadline_s = time.monotonic() + timeout_s
        with self._added:
            while True:
                for record in self._records:
                    if record.event == event and fields.items() <= record.fields.items():
                        return record
                if not self._added.wait(deadline_s - time.monotonic()):
                    break
            told = "\n".join(f"  #{record.flow} {describe(record)}" for record in self._records)
        wanted = ", ".join(f"{name}={value!r}" for name, value in fields.items())
        raise AssertionError(f"no {event} ({wanted}) within {timeout_s:g} s; what happened:\n{told or '  nothing'}")


@contextmanager
def serve_in_thread(
    profile: str | Profile = "vmware-fusion",
    *,
    backend: str = "asyncio",
    listen: str | None = "127.0.0.1:0",
    **options: Any,
) -> Iterator[RunningRelay]:
    """Serve for as long as the block lasts; the options are those of `relay.config.configure`.

    Raises:
        ConfigError: a setting is wrong.
        Unsupported: this host lacks what was asked for.
    """
    config = configure(profile, listen=listen, **options)
    log, records = EventLog(), Records()
    log.subscribe(records)
    with start_blocking_portal(backend) as portal, portal.wrap_async_context_manager(open_relay(config, log)) as relay:
        yield RunningRelay(portal, relay, records)
