"""What starts relays one after another: the type of pytest's fixture `nat_relay_factory`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

from relay.behaviours import Behaviour
from relay.handles.in_thread import RunningRelay
from relay.profiles import Profile


class RelayFactory(Protocol):
    """Starts relays that stop when the test ends; its options are those of `serve_in_thread`, which documents them."""

    def __call__(
        self,
        profile: str | Profile | None = None,
        *,
        backend: str = "asyncio",
        listen: str | None = "127.0.0.1:0",
        behaviours: Iterable[Behaviour | type[Behaviour]] = (),
        forwards: Iterable[str] = (),
        inbound: Iterable[str] = (),
        auth: str | None = None,
        allow_open: bool = False,
        observer: str | None = None,
        strict: bool = True,
        resolve: Iterable[str] = (),
        source: str | None = None,
        handshake_timeout_s: float = 10.0,
        connect_timeout_s: float = 30.0,
        idle_timeout_s: float | None = None,
        drain_timeout_s: float = 5.0,
        max_flows: int | None = None,
        time_scale: float = 1.0,
        clock: str = "running",
        seed: int | None = None,
        **settings: Mapping[str, object],
    ) -> RunningRelay:
        """Start one; without a profile it is that of the command line or the ini file."""
        ...
