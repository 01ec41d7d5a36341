"""A relay for code that has no event loop: tests, scripts, a REPL.

    with serve_in_thread("vmware-fusion") as nat:
        requests.get(url, proxies={"http": nat.socks_url})
        nat.wait_for("flow-ended", because="tos-reset")

The relay runs in a thread and an event loop of its own; everything offered here may be called from any other thread.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias
from urllib.parse import quote

from anyio.from_thread import BlockingPortal, start_blocking_portal

from relay.address import Endpoint, ForwardSpec, ResolveOverride, parse_resolve
from relay.config import configure
from relay.eventlog import EventLog, Record
from relay.events import Side
from relay.profiles import Profile
from relay.server import Relay, open_relay
from relay.textlog import describe

SideName: TypeAlias = Literal["internal", "external"]


@dataclass(frozen=True, slots=True)
class FlowStory:
    """One flow, as the event log tells it."""

    number: int
    records: tuple[Record, ...]

    @property
    def destination(self) -> str:
        """What the opener asked for, HOST:PORT; empty if it never did."""
        return str(self._find("flow-opened").get("destination", ""))

    @property
    def process(self) -> tuple[int, str] | None:
        """Pid and name of the app's process, where the host can tell."""
        return next((record.process for record in self.records if record.process is not None), None)

    @property
    def ending(self) -> Mapping[str, Any] | None:
        """The fields of `flow-ended`, or None while the flow is open."""
        return self._find("flow-ended") or None

    def _find(self, event: str) -> Mapping[str, Any]:
        return next((record.fields for record in self.records if record.event == event), {})


class RunningRelay:
    """A relay that serves in another thread."""

    def __init__(self, portal: BlockingPortal, relay: Relay, records: Records) -> None:
        self._portal = portal
        self._relay = relay
        self._records = records

    # Where it is

    @property
    def address(self) -> Endpoint:
        """Where the proxy listens."""
        assert self._relay.address is not None, "started with listen=None"  # noqa: S101
        return self._relay.address

    @property
    def forward_addresses(self) -> list[Endpoint]:
        """Where each forward listens, in the order they were opened."""
        return list(self._relay.forward_addresses)

    @property
    def inbound_addresses(self) -> list[Endpoint]:
        """Where each inbound forward listens, in the order they were opened."""
        return list(self._relay.inbound_addresses)

    @property
    def socks_url(self) -> str:
        """For clients that are to leave name resolution to the relay."""
        return self.url("socks5h")

    @property
    def http_url(self) -> str:
        return self.url("http")

    def url(self, scheme: str) -> str:
        """The proxy's URL under a scheme of the client's liking, with the credentials if it wants any."""
        auth = self._relay.config.auth
        userinfo = f"{quote(auth.username, safe='')}:{quote(auth.password, safe='')}@" if auth is not None else ""
        return f"{scheme}://{userinfo}{self.address}"

    @property
    def env(self) -> dict[str, str]:
        """This process's environment, with every proxy variable pointing here and none that makes exceptions."""
        kept = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
        urls = {"all_proxy": self.socks_url, "http_proxy": self.http_url, "https_proxy": self.http_url}
        return kept | urls | {name.upper(): url for name, url in urls.items()}

    # What happens

    @property
    def events(self) -> list[Record]:
        """Everything that has happened so far."""
        return self._records.snapshot()

    @property
    def flows(self) -> list[FlowStory]:
        """Every flow so far, by number."""
        stories: dict[int, list[Record]] = {}
        for record in self.events:
            if record.flow is not None:
                stories.setdefault(record.flow, []).append(record)
        return [FlowStory(number, tuple(records)) for number, records in sorted(stories.items())]

    @property
    def flow_count(self) -> int:
        """How many flows are open now."""
        return self._relay.flow_count

    def wait_for(self, event: str, *, timeout_s: float = 5.0, **fields: Any) -> Record:
        """The first record of this event whose fields have these values, once there is one.

        Raises:
            AssertionError: there was none in time; the message lists what did happen.
        """
        return self._records.wait_for(event, timeout_s, fields)

    def assert_used(self) -> None:
        """Insist that some connection was asked for through the relay.

        Raises:
            AssertionError: none was; the message says what the usual reasons are.
        """
        if not any(record.event == "flow-opened" for record in self.events):
            raise AssertionError(
                f"nothing was asked of the relay at {self.address}; what happened:\n{self._records.told()}\n"
                "Go programs, browsers and many others skip a proxy for loopback addresses without a word: give the "
                "origin a name with nat.resolve(), or use nat.forward()"
            )

    # What it is told

    def forward(self, host: str, port: int) -> Endpoint:
        """Open a port forward to HOST:PORT and return where it listens, as a (host, port) pair."""
        return self._forward(host, port, Side.INTERNAL)

    def forward_inbound(self, host: str, port: int) -> Endpoint:
        """Likewise, to a server of the guest's: what is dialled is then the app under test."""
        return self._forward(host, port, Side.EXTERNAL)

    def _forward(self, host: str, port: int, opener: Side) -> Endpoint:
        spec = ForwardSpec(Endpoint("127.0.0.1", 0), Endpoint(host, port))
        return self._portal.call(self._relay.forward, spec, opener)

    def resolve(self, name: str, port: int, address: str) -> None:
        """Answer `name` with `address` from now on, when it is asked for with `port`."""
        literal = f"[{address}]" if ":" in address else address
        override: ResolveOverride = parse_resolve(f"{name}:{port}:{literal}", where="resolve")
        self._portal.call(self._relay.resolve_as, override)

    def freeze(self, side: SideName) -> None:
        """Neither read nor write this side of any flow, until it is thawed.

        A frozen external side looks dead: on Linux with CAP_NET_ADMIN even its kernel does not answer any more.
        """
        self._portal.call(self._relay.freeze, Side(side))

    def thaw(self, side: SideName) -> None:
        """Go on where `freeze` stopped."""
        self._portal.call(self._relay.thaw, Side(side))

    def link_down(self) -> None:
        """Tell every flow that the host's network link went down."""
        self._portal.call(self._relay.link_down)

    def set(self, **behaviours: Mapping[str, object]) -> None:
        """Change settings for flows that are opened from now on: `nat.set(tos_reset={"mask": 0xFC})`.

        Raises:
            ConfigError: a setting is wrong; none was changed.
        """
        self._portal.call(self._relay.adjust, *spell_settings(behaviours))

    @property
    def time_scale(self) -> float:
        """What behaviours' delays are divided by: with 100, a timeout of 300 s takes 3."""
        return self._relay.time_scale

    @time_scale.setter
    def time_scale(self, value: float) -> None:
        self._portal.call(setattr, self._relay, "time_scale", value)

    @property
    def seed(self) -> int:
        """What everything left to chance follows from."""
        return self._relay.config.seed


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

    def told(self) -> str:
        """The log as text, one line per record."""
        lines = (
            f"  {record.at_s:8.3f} s  {f'#{record.flow}  ' if record.flow is not None else ''}{describe(record)}"
            for record in self.snapshot()
        )
        return "\n".join(lines) or "  nothing"

    def wait_for(self, event: str, timeout_s: float, fields: Mapping[str, Any]) -> Record:
        deadline_s = time.monotonic() + timeout_s
        with self._added:
            while True:
                for record in self._records:
                    if record.event == event and fields.items() <= record.fields.items():
                        return record
                if not self._added.wait(deadline_s - time.monotonic()):
                    break
        wanted = ", ".join(f"{name}={value!r}" for name, value in fields.items())
        named = f"{event} ({wanted})" if wanted else event
        raise AssertionError(f"no {named} within {timeout_s:g} s; what happened:\n{self.told()}")


def spell_settings(behaviours: Mapping[str, Mapping[str, object]]) -> list[str]:
    """Settings as Python spells them, `{"tos_reset": {"mask": 0xFC}}`, in the command line's spelling."""
    return [
        f"{behaviour.replace('_', '-')}.{name}={str(value).lower() if isinstance(value, bool) else value}"
        for behaviour, settings in behaviours.items()
        for name, value in settings.items()
    ]


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
