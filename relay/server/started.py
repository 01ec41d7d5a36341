"""What a relay that has begun to serve is, whether one process serves or several, and what its log says of that."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Protocol, TypeAlias, TypeVar

from relay.address import Endpoint, ForwardSpec
from relay.backend import running_backend
from relay.config import RelayConfig
from relay.control import Command
from relay.fidelity import QuirkFidelity
from relay.log import EventLog
from relay.profiles import Profile
from relay.totals import Totals

ResultT = TypeVar("ResultT")

Limited: TypeAlias = Callable[[float], AbstractContextManager[object]]
"""What cancels a block after the seconds that it is given: `Started.limited`."""


class Started(Protocol):
    """A relay that has begun to serve, in this process or in several."""

    config: RelayConfig
    log: EventLog
    fidelity: list[QuirkFidelity]
    wire: list[str]

    @property
    def address(self) -> Endpoint | None:
        """Where the proxy listens, if there is one."""

    @property
    def forward_addresses(self) -> list[Endpoint]:
        """Where each forward listens, in the order they were given."""

    @property
    def inbound_addresses(self) -> list[Endpoint]:
        """Likewise for inbound forwards."""

    @property
    def targets(self) -> dict[Endpoint, Endpoint]:
        """Where each forward leads, inbound ones too, by where it listens."""

    @property
    def forward_settings(self) -> Mapping[Endpoint, tuple[str, ...]]:
        """The settings of their own that forwards have, by where they listen."""

    @property
    def totals(self) -> Totals:
        """What all flows come to, once it has stopped; before, see `count_up`."""

    @property
    def profile(self) -> Profile:
        """What flows are made with from now on."""

    async def carry_out(self, command: Command[ResultT]) -> ResultT:
        """Carry out a command; see `relay.control`."""

    async def count_up(self) -> Totals:
        """What all flows so far come to."""

    def limited(self, at_most_s: float, /) -> AbstractContextManager[object]:
        """Cancel the block after `at_most_s` seconds, where possible by a clock that no test's clock replaces."""

    def link_down(self) -> None: ...
    async def drain(self, at_most_s: float) -> None: ...


def emit_started(relay: Started, workers: int = 1) -> None:
    """Tell the relay's event log that it has begun to serve."""
    config = relay.config
    relay.log.emit(
        "relay-started",
        profile=config.profile.name,
        listen=str(relay.address) if relay.address is not None else None,
        forwards=_described(relay.forward_addresses, config.forwards),
        inbound=_described(relay.inbound_addresses, config.inbound),
        wire=relay.wire,
        seed=config.seed,
        time_scale=config.time_scale,
        backend=running_backend(),
        workers=workers,
        fidelity={each.quirk.name: each.support.fidelity.value for each in relay.fidelity},
    )


def _described(addresses: list[Endpoint], specs: tuple[ForwardSpec, ...]) -> list[str]:
    return [f"{address} -> {spec.target}" for address, spec in zip(addresses, specs, strict=True)]
