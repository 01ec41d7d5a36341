"""What a flow is: its sides, its machine and its phase, and what can be read of it. `relay.driver.flow` makes it go."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from relay.address import Endpoint
from relay.behaviours import Lineup
from relay.driver.carrying import Carrying
from relay.driver.chance import Chance
from relay.driver.dialling import Dialling
from relay.driver.flow_log import FlowLog
from relay.driver.idleness import Idleness
from relay.driver.legs import FlowLegs
from relay.driver.phase import OVER, Phase
from relay.driver.timers import Timed
from relay.events import Side
from relay.frontends import PendingConnection
from relay.legs import Leg
from relay.machine import FlowMachine

if TYPE_CHECKING:
    from relay.driver.driver import Driver


class FlowState(Timed):
    """The state of a flow. Owns its legs."""

    __slots__ = (
        "_pending",
        "_waiting",
        "counts_requests",
        "destination",
        "faults",
        "forward",
        "idleness",
        "initiator",
        "legs",
        "log",
        "machine",
        "number",
        "phase",
        "profile",
        "saw_data",
    )

    legs_kind: ClassVar[type[FlowLegs]] = FlowLegs

    def __init__(
        self,
        driver: Driver,
        number: int,
        initiator: Side,
        forward: Endpoint | None = None,
        *,
        lineup: Lineup | None = None,
    ) -> None:
        """`lineup`: the behaviours in place of the profile's."""
        super().__init__(driver)
        self.number = number
        self.initiator = initiator
        self.log = FlowLog(driver.log, number, driver.engine.nat.now_s())
        self.forward = forward
        """The port forward that it came in by: where that listens."""
        self.profile = driver.profile if forward is None else driver.forward_profiles.get(forward, driver.profile)
        """What its behaviours are made from; of those that have conditions it may have a part."""
        if lineup is None:
            lineup = self.profile.lineup
        chance = Chance(self.log, driver.seed, self.seeded_number) if lineup.draws else None
        self.machine = FlowMachine(
            lineup.unconditional if lineup.conditional else lineup,
            initiator,
            chance.give_to if chance is not None else None,
            self.log.write_dropped if driver.log.debug else None,
        )
        self.legs = self.legs_kind(driver.engine, self.log)
        self.phase: Phase = OVER
        self.destination: Endpoint | None = None
        """What its initiator asked for; None until it asks."""
        self.faults: Mapping[Any, Any] | None = None
        """What it suffers by commands, by name and forward; see `relay.driver.faults`."""
        self._pending: PendingConnection | None = None
        self.idleness: Idleness | None = None
        """When there was traffic, once a behaviour wants to know."""
        self.saw_data: Callable[[Side], None] | None = None
        """Called with a side whose bytes were carried, once something wants to know."""
        self.counts_requests = False
        """Whether a behaviour wants to know of requests."""
        self._waiting: tuple[Callable[[], None], ...] | None = None  # behind what is being done, if anything is

    @property
    def seeded_number(self) -> int:
        """Its number among the flows since the seed was set: what is left to chance follows from both."""
        return self.number - self.driver.flows_before_seed

    @property
    def pending(self) -> PendingConnection:
        """The connection that waits for its answer."""
        assert self._pending is not None, "not asked for yet, or answered"  # noqa: S101
        return self._pending

    @property
    def dialling(self) -> Dialling:
        """The phase, where it is certain to be this one."""
        assert isinstance(self.phase, Dialling), "only a machine that dials asks for this"  # noqa: S101
        return self.phase

    @property
    def initiator_leg(self) -> Leg:
        return self.legs[self.initiator]

    @property
    def client(self) -> str:
        """The initiator's address, for the log; empty without one."""
        if not self.log.wanted:
            return ""
        return str(self.initiator_leg.peer or "a client that is gone")

    def client_end(self) -> Endpoint | None:
        """The initiator's address; None if it is gone."""
        return self.initiator_leg.peer

    @property
    def carried_bytes(self) -> tuple[int, int]:
        """How many bytes it has passed on, out and in."""
        return self.phase.carried_bytes() if isinstance(self.phase, Carrying) else (0, 0)

    @property
    def received_bytes(self) -> tuple[int, int]:
        """How many bytes have come, out and in, those that a fault delays or drops among them."""
        return self.phase.received_bytes() if isinstance(self.phase, Carrying) else (0, 0)

    @property
    def moved_bytes(self) -> int | None:
        """How many bytes it has carried, either way; None while, or if, it carries nothing."""
        return sum(map(self.phase.moved_bytes, Side)) if isinstance(self.phase, Carrying) else None

    @property
    def waiting_bytes(self) -> int:
        """How many of them are on their way still: neither side's peer has acknowledged them."""
        return sum(leg.unacked_bytes() for leg in self.legs if not leg.closed)
