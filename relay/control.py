"""The commands of a running relay, as values: one vocabulary for programs, tests and workers.

    endpoint = relay.do(OpenForward(ForwardSpec(bind, target)))
    relay.do(Freeze(Side.EXTERNAL))

A command is frozen and can be pickled. Its type parameter is what carrying it out returns. A side may be given by its
name, in either vocabulary: `Freeze("server")`. An error about a command names the field that is wrong.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Generic, Literal, TypeAlias, TypeVar

from relay.address import Endpoint, ForwardSpec, ResolveOverride
from relay.errors import ConfigError
from relay.events import Side, SideName
from relay.fault import Fault
from relay.log import Record
from relay.totals import Totals

KeepaliveCredit: TypeAlias = Literal["credit", "ignore"]
"""Whether an advance of the clock counts keepalive probes that it leaves no time to be sent."""
ResultT_co = TypeVar("ResultT_co", covariant=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenFlow:
    """A flow that is open, as `ListFlows` finds it."""

    number: int
    client: str
    """The initiator's address; empty where it is not known."""
    destination: str
    """What it asked for, HOST:PORT; empty until it has."""
    process: tuple[int, str] | None
    """Pid and name of the app's process, where the host can tell."""
    forward: Endpoint | None
    """The forward that it came in by: where that listens."""
    bytes_out: int
    """Carried so far from the internal to the external side; what a fault delays counts once it is sent."""
    bytes_in: int
    """Carried so far from the external to the internal side, likewise."""
    received_out: int
    """Come so far from the internal side, also what a fault delays or drops."""
    received_in: int
    """Likewise from the external side."""
    age_s: float
    """How long it is open, in seconds of the NAT's clock."""


class Command(Generic[ResultT_co]):
    """Something that a running relay is to do, or to be, from now on."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, init=False)
class Freeze(Command[None]):
    """Neither read nor write this side of any flow, now or later, until `Thaw`.

    A frozen external side looks dead: on Linux with CAP_NET_ADMIN its kernel does not answer any more, either.
    """

    side: Side

    def __init__(self, side: Side | SideName) -> None:
        object.__setattr__(self, "side", Side.named(side, where="freeze"))


@dataclass(frozen=True, slots=True, init=False)
class Thaw(Command[None]):
    """Go on where `Freeze` stopped."""

    side: Side

    def __init__(self, side: Side | SideName) -> None:
        object.__setattr__(self, "side", Side.named(side, where="thaw"))


@dataclass(frozen=True, slots=True)
class LinkDown(Command[None]):
    """Tell every flow that the host's network link went down."""


@dataclass(frozen=True, slots=True)
class Adjust(Command[None]):
    """Change settings, each `BEHAVIOUR.SETTING=VALUE`, for flows that are opened from now on; all of them or none."""

    settings: tuple[str, ...]


@dataclass(frozen=True, slots=True, init=False)
class OpenForward(Command[Endpoint]):
    """Open one more port forward; the result is where it listens.

    With an external initiator it is an inbound one: its target is the guest. Its flows have the relay's settings, and
    over them those of its `spec`.
    """

    spec: ForwardSpec
    initiator: Side

    def __init__(self, spec: ForwardSpec, initiator: Side | SideName = Side.INTERNAL) -> None:
        object.__setattr__(self, "spec", spec)
        object.__setattr__(self, "initiator", Side.named(initiator, where="initiator"))


@dataclass(frozen=True, slots=True)
class AdjustForward(Command[None]):
    """Change settings for flows that come in by the forward that listens at `address`, from now on; all or none.

    They lie over the relay's, and take the place of those that the forward had of its own.
    """

    address: Endpoint
    settings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CloseForward(Command[int]):
    """Close the port forward that listens at `address`, and end its flows by FIN; the result is how many there were."""

    address: Endpoint


def no_such_forward(address: Endpoint, known: Iterable[Endpoint], *, where: str = "address") -> ConfigError:
    """The error of a command where no forward listens at the address; `where` is the command's field."""
    listening = ", ".join(map(str, known)) or "nowhere"
    return ConfigError(f"{where}: no forward listens at {address}", hint=f"forwards listen at: {listening}")


@dataclass(frozen=True, slots=True)
class ResolveAs(Command[None]):
    """Answer a name with an address of the relay's own choice."""

    override: ResolveOverride


@dataclass(frozen=True, slots=True)
class SetFault(Command[None]):
    """Have flows suffer a fault, those that are open and those to come, until `LiftFault`.

    With a `forward`, given as where it listens, its flows alone. One of the same name is replaced.
    """

    name: str
    fault: Fault
    forward: Endpoint | None = None


@dataclass(frozen=True, slots=True)
class LiftFault(Command[bool]):
    """Have no flow suffer the fault of this name, of this forward, any more; the result is whether it was set."""

    name: str
    forward: Endpoint | None = None


@dataclass(frozen=True, slots=True)
class ListFaults(Command[list[SetFault]]):
    """Say which faults are set, each as the command that has set it."""


@dataclass(frozen=True, slots=True)
class SetTimeScale(Command[None]):
    """Have the NAT's clock run `scale` times as fast as the real one, from now on and for all flows."""

    scale: float


@dataclass(frozen=True, slots=True)
class Advance(Command[list[Record]]):
    """Let `seconds` pass on the NAT's clock at once; the result is the records of what that caused.

    The relay comes to rest first: all that was sent before, within this host, counts as before. Then what is due
    happens, in order, each thing at its own moment. The app and the server have another clock.

    Of several workers all come to rest before any clock is moved; the records are those of all, by their times.
    """

    seconds: float
    keepalive: KeepaliveCredit = "credit"
    """With `credit` the probes that the sockets of apps and servers on this host would send meanwhile are traffic."""


@dataclass(frozen=True, slots=True)
class SetSeed(Command[None]):
    """Have what is left to chance follow from this seed, as if the next flow were the first."""

    seed: int


@dataclass(frozen=True, slots=True)
class CountUp(Command[Totals]):
    """Say what all flows so far come to."""


@dataclass(frozen=True, slots=True)
class ListFlows(Command[list[OpenFlow]]):
    """Say which flows are open, and what each has carried so far; by number."""


@dataclass(frozen=True, slots=True)
class Drain(Command[int]):
    """Accept nothing more; the result is how many flows are open, which go on.

    `at_most_s` is how long they have, in seconds, for the log.
    """

    at_most_s: float
