"""The commands of a running relay, as values: one vocabulary for programs, tests and workers.

    endpoint = relay.do(OpenForward(ForwardSpec(bind, target)))
    relay.do(Freeze(Side.EXTERNAL))

A command is frozen and can be pickled. Its type parameter is what carrying it out returns. A side may be given by its
name, in either vocabulary: `Freeze("server")`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, Literal, TypeAlias, TypeVar

from relay.address import Endpoint, ForwardSpec, ResolveOverride
from relay.events import Side, SideName
from relay.log import Record
from relay.totals import Totals

KeepaliveCredit: TypeAlias = Literal["credit", "ignore"]
"""Whether an advance of the clock counts keepalive probes that it leaves no time to be sent."""
ResultT_co = TypeVar("ResultT_co", covariant=True)


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

    With an external initiator it is an inbound one: its target is the guest.
    """

    spec: ForwardSpec
    initiator: Side

    def __init__(self, spec: ForwardSpec, initiator: Side | SideName = Side.INTERNAL) -> None:
        object.__setattr__(self, "spec", spec)
        object.__setattr__(self, "initiator", Side.named(initiator, where="initiator"))


@dataclass(frozen=True, slots=True)
class ResolveAs(Command[None]):
    """Answer a name with an address of the relay's own choice."""

    override: ResolveOverride


@dataclass(frozen=True, slots=True)
class SetTimeScale(Command[None]):
    """Have the NAT's clock run so many times as fast as the real one, from now on and for all flows."""

    scale: float


@dataclass(frozen=True, slots=True)
class Advance(Command[list[Record]]):
    """Have so many seconds pass on the NAT's clock at once; the result are the records of what that caused.

    The relay comes to rest first: all that was sent before, within this host, counts as before. Then what is due
    happens, in order, each thing at its own moment. The app and the server have another clock.
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
class Drain(Command[int]):
    """Accept nothing more; the result is how many flows are open, which go on.

    `at_most_s` is how long they have, in seconds, for the log.
    """

    at_most_s: float
