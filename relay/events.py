"""What can happen to a flow, as frozen values.

A flow's life, as its behaviours see it:

    ConnectRequested --> DialSucceeded | DialFailed | InitiatorVanished --> facts on the wire ... --> both sides over

Every event carries `at_s`, seconds on the NAT's clock: behaviours have no clock of their own.
Events name what was seen; the behaviours decide what to do about it (`relay.actions`).
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from relay.address import Endpoint
from relay.causes import How
from relay.deprecation import former_names, warn_of_former_name
from relay.errors import ConfigError

SideName: TypeAlias = Literal["internal", "external", "app", "server"]
"""What a side may be called where it is an argument."""


class Side(enum.Enum):
    """The two ends of a NATed connection, in RFC 5382's words."""

    INTERNAL = "internal"
    """The guest's end: the app under test."""
    EXTERNAL = "external"
    """The end toward the server."""

    @classmethod
    def named(cls, name: Side | SideName, *, where: str) -> Side:
        """The side of this name, in RFC 5382's words or in those of the readable log.

        Raises:
            ConfigError: there is none; the message begins with `where`.
        """
        try:
            return name if isinstance(name, Side) else _NAMES[name]
        except (KeyError, TypeError):
            hint = "the sides: internal (the app), external (the server)"
            raise ConfigError(f"{where}: there is no side {name!r}", hint=hint) from None

    # Members are singletons; hashing them by name costs more than the rest of an event's way through the machine.
    __hash__ = object.__hash__

    other: Side
    """The opposite end."""


Side.INTERNAL.other, Side.EXTERNAL.other = Side.EXTERNAL, Side.INTERNAL

_NAMES: Mapping[object, Side] = {
    "internal": Side.INTERNAL,
    "app": Side.INTERNAL,
    "external": Side.EXTERNAL,
    "server": Side.EXTERNAL,
}


class FailureKind(enum.Enum):
    """Why a destination was not reached. The front ends' reply codes are chosen by this alone."""

    REFUSED = "refused"
    NETWORK_UNREACHABLE = "network unreachable"
    HOST_UNREACHABLE = "host unreachable"
    TIMED_OUT = "timed out"
    NOT_RESOLVED = "name not resolved"
    DENIED = "denied"
    EXHAUSTED = "out of resources"
    OTHER = "failed"


@dataclass(frozen=True, slots=True)
class DialFailure:
    """Why a dial came to nothing: the kind, and one line of detail for a person."""

    kind: FailureKind
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.kind.value} ({self.detail})" if self.detail else self.kind.value


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to one flow, at `at_s` on the NAT's clock."""

    at_s: float


@dataclass(frozen=True, slots=True)
class ConnectRequested(Event):
    """The initiator asked for `destination`; nothing was dialled or answered yet."""

    destination: Endpoint
    initiator: Side

    if not TYPE_CHECKING:

        @property
        def opener(self):
            """The former name of `initiator`, for one release."""
            warn_of_former_name("ConnectRequested.opener", "ConnectRequested.initiator", stacklevel=2)
            return self.initiator


@dataclass(frozen=True, slots=True)
class DialSucceeded(Event):
    """The handshake with the destination is complete."""


@dataclass(frozen=True, slots=True)
class DialFailed(Event):
    """The destination was not reached."""

    failure: DialFailure


@dataclass(frozen=True, slots=True)
class InitiatorVanished(Event):
    """The initiator was reset, by its own end or by ours, before the dial had come to anything.

    A FIN is no such end: an initiator may have sent all its data, and wait for the answer.
    """


@dataclass(frozen=True, slots=True)
class InitiatorSent(Event):
    """The initiator has sent its first byte, or its FIN, and nothing was dialled yet."""


@dataclass(frozen=True, slots=True)
class SynUnknown(Event):
    """The kernel has not kept the SYN of `side`, as it does not under SYN cookies.

    `reference` is the TOS byte of the segment behind it, which takes the place of the SYN's own. None: that is not
    known either, and no `TosChanged` will come.
    """

    side: Side
    reference: int | None


@dataclass(frozen=True, slots=True)
class TosChanged(Event):
    """A segment from `side` carried another TOS byte than the one before.

    `syn` is the byte of the side's SYN, or of the segment behind it if the SYN is not known; `old` that of its last
    known segment. `new` is None where the host saw that a segment differed in a watched bit but not what it carried.
    Whether the segment was withheld is up to the provider.
    """

    side: Side
    syn: int
    old: int
    new: int | None


@dataclass(frozen=True, slots=True)
class ProbeArrived(Event):
    """A keepalive probe came from `side` (RFC 9293 section 3.8.4).

    `answered` says whether our end has answered it, as kernels do at once; else `AnswerProbe` does.
    """

    side: Side
    answered: bool = True


@dataclass(frozen=True, slots=True)
class ProbeAnswered(Event):
    """`side` has answered a `Probe`: something came from it."""

    side: Side


@dataclass(frozen=True, slots=True)
class FinReceived(Event):
    """`side` will send no more; everything it sent before has been passed on."""

    side: Side


@dataclass(frozen=True, slots=True)
class RstReceived(Event):
    """`side` reset the connection. `unacked_bytes` were accepted for it and never acknowledged by it."""

    side: Side
    unacked_bytes: int = 0


@dataclass(frozen=True, slots=True)
class LegTimedOut(Event):
    """`side` stopped answering, or became unreachable, and the connection to it is dead."""

    side: Side
    unacked_bytes: int = 0


@dataclass(frozen=True, slots=True)
class LimitReached(Event):
    """As many bytes have gone to `side` as its `Shape` lets pass; what comes now waits."""

    side: Side
    limit_bytes: int


@dataclass(frozen=True, slots=True)
class RequestBegan(Event):
    """The initiator has sent the first bytes of its request of this number, and they were passed on.

    A request is what it sends until the other side sends something; the first has number 1. It takes `CountRequests`.
    """

    number: int


@dataclass(frozen=True, slots=True)
class TimerFired(Event):
    """A timer that this behaviour started ran out. Only the behaviour that started it sees it."""

    key: str


@dataclass(frozen=True, slots=True)
class WentIdle(Event):
    """There was no traffic since `since_s`: a `WatchIdle` of this behaviour has ended. No other sees it."""

    key: str
    since_s: float


@dataclass(frozen=True, slots=True)
class SlotTaken(Event):
    """The flow has a slot that this behaviour asked for with `TakeSlot`. No other sees it."""

    pool: str


@dataclass(frozen=True, slots=True)
class SlotDenied(Event):
    """No slot was free that this behaviour asked for with `TakeSlot`. No other sees it."""

    pool: str


@dataclass(frozen=True, slots=True)
class LinkWentDown(Event):
    """The host's network link went down, or a command said that it did."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How one side of a flow ended, and why: `because` is a `Cause` or a behaviour's name."""

    side: Side
    how: How
    because: str


if not TYPE_CHECKING:
    __getattr__ = former_names(__name__, {"OpenerVanished": "InitiatorVanished"})
