"""A driver without a socket: its legs, its loop and its dials are in this process's memory, and time stands still.

nat = MemoryDriver("vmware-fusion")
app = nat.call(forward())              the app's end of a connection that came in
server = nat.answer()                  the dial succeeds; the server's end
app.says(b"hello"); nat.settle()
assert server.hears() == b"hello"
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field
from typing import Any, cast

from relay.address import Endpoint
from relay.driver import Driver, Limits
from relay.events import DialFailure, FailureKind, Side
from relay.frontends import Conversation
from relay.frontends.forward import ForwardConversation
from relay.frontends.proxy import ProxyConversation
from relay.legs import BROKEN, WOULD_BLOCK, Leg
from relay.log import EventLog, Record
from relay.loop.engine import Engine
from relay.profiles import load_profile
from relay.protocols import Credentials
from relay.testing import MemoryLeg, MemoryLoop, memory_pair

SERVER = Endpoint("192.0.2.80", 80)


def forward(initiator: Side = Side.INTERNAL, destination: Endpoint = SERVER) -> Conversation:
    return ForwardConversation(destination, initiator)


def proxy(credentials: Credentials | None = None) -> Conversation:
    return ProxyConversation(credentials)


@dataclass
class End:
    """The far end of one of the relay's legs: an app's, or a server's."""

    leg: MemoryLeg

    def says(self, data: bytes) -> None:
        self.leg.write(data)

    def finishes(self) -> None:
        self.leg.finish()

    def resets(self) -> None:
        self.leg.reset()

    def hears(self) -> bytes:
        """All that has come, without its end."""
        buffer, heard = memoryview(bytearray(1 << 16)), b""
        while (count := self.leg.receive_into(buffer)) > 0:
            heard += bytes(buffer[:count])
        self.end = {0: "fin", BROKEN: "rst", WOULD_BLOCK: ""}[count]
        return heard

    end = ""
    """How the relay has ended its side of it, as far as `hears` has read: fin, rst, or not yet."""


@dataclass
class PendingDial:
    """A dial that neither succeeded nor failed yet."""

    destination: Endpoint
    side: Side
    connected: Callable[[Leg, Endpoint], None]
    failed: Callable[[DialFailure], None]
    abandoned: bool = False

    def abandon(self) -> None:
        self.abandoned = True


class MemoryEngine(MemoryLoop):
    """What the driver needs of an engine beyond a loop."""

    def __init__(self) -> None:
        super().__init__()
        self.nat, self.scale = self, 1.0

    limited = Engine.limited

    def stand_still(self, seconds: float) -> None:
        """Let time pass in which nothing runs; what was due comes late."""
        self._now_s += seconds

    def on_fault(self, fault: Exception) -> None:
        raise fault

    def spawn(self, function: Callable[..., Awaitable[Any]], *args: object) -> None:
        raise AssertionError(f"{function.__name__} takes an async library")


@dataclass
class MemoryConnector:
    """Keeps dials until a test answers them."""

    timeout_s: float = 30.0
    dials: list[PendingDial] = field(default_factory=list)
    own_addresses: set[Endpoint] = field(default_factory=set)
    own_datagram_addresses: set[Endpoint] = field(default_factory=set)
    source: str | None = None
    abilities: object = None

    def is_own(self, target: Endpoint, among: Collection[Endpoint]) -> bool:
        return target in among

    def reaches(self, destination: Endpoint, side: Side) -> bool:
        return True

    def connect(
        self,
        destination: Endpoint,
        side: Side,
        connected: Callable[[Leg, Endpoint], None],
        failed: Callable[[DialFailure], None],
        client: Callable[[], Endpoint | None],
    ) -> PendingDial:
        dial = PendingDial(destination, side, connected, failed)
        self.dials.append(dial)
        return dial


class MemoryDriver:
    """A driver, and both ends of all that it drives."""

    def __init__(
        self,
        profile: str = "transparent",
        *settings: str,
        seed: int = 0,
        worker: tuple[int, int] = (1, 1),
        **limits: Any,
    ) -> None:
        self.loop = MemoryEngine()
        self.connector = MemoryConnector()
        self.records: list[Record] = []
        log = EventLog()
        log.subscribe(self.records.append)
        self.driver = Driver(
            cast("Any", self.loop),
            cast("Any", self.connector),
            load_profile(profile, settings),
            log,
            Limits(**limits),
            seed,
            first_flow=worker[0],
            flow_step=worker[1],
        )
        self.driver._lookups = 1 << 20  # whose flow it is takes a kernel to tell

    def call(self, conversation: Conversation) -> End:
        """Have a connection come in."""
        peer, leg = memory_pair(self.loop, conversation.initiator)
        self.driver.accept(leg, conversation)
        self.settle()
        return End(peer)

    def answer(self) -> End:
        """Have the oldest dial succeed."""
        dial = self.connector.dials.pop(0)
        assert not dial.abandoned, "it was given up"
        peer, leg = memory_pair(self.loop, dial.side)
        dial.connected(leg, dial.destination)
        self.settle()
        return End(peer)

    def refuse(self, kind: FailureKind = FailureKind.REFUSED) -> None:
        """Have the oldest dial fail."""
        self.connector.dials.pop(0).failed(DialFailure(kind, "as the test has it"))
        self.settle()

    def settle(self) -> None:
        """Let all happen that does not take time."""
        self.loop.settle()

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.loop.advance(seconds)

    def told(self, *events: str) -> list[str]:
        """The events so far, by name; of some kinds alone if any are named."""
        return [record.event for record in self.records if not events or record.event in events]

    def fields(self, event: str) -> dict[str, Any]:
        """The fields of the only record of this event."""
        (record,) = (record for record in self.records if record.event == event)
        return dict(record.fields)
