"""What a relay is started with, once it is checked: `relay.config.configure` makes it."""

from __future__ import annotations

from dataclasses import dataclass

from relay.address import Endpoint, ForwardSpec, ResolveOverride
from relay.profiles import Profile
from relay.protocols import Credentials


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayConfig:
    """A relay's settings, in order. Times are in seconds."""

    profile: Profile
    listen: Endpoint | None
    forwards: tuple[ForwardSpec, ...]
    inbound: tuple[ForwardSpec, ...]
    auth: Credentials | None
    observer: str | None
    strict: bool
    resolve: tuple[ResolveOverride, ...]
    source: str | None
    handshake_timeout_s: float
    connect_timeout_s: float
    drain_timeout_s: float
    max_flows: int | None
    time_scale: float
    clock: str
    """`running`, or `manual`: the NAT's moves by `advance` alone."""
    seed: int
