"""How connections come in, and how one that asks is answered.

    FrontEnd --Conversation--> the driver reads the initiator's leg for it, until it has its request
             --PendingConnection--> what has asked already: the driver grants, refuses or ignores it

A conversation is free of I/O: a protocol's bytes in, bytes out. A front end whose initiators ask by other means (a SYN
on a link) hands over pending connections from the start.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from relay.abilities import Want
from relay.address import Endpoint, ResolveOverride
from relay.events import DialFailure, Side
from relay.legs import Leg
from relay.log import EventLog
from relay.loop.engine import Engine
from relay.observe import Support
from relay.protocols import HttpExchange, Question


class Conversation(Protocol):
    """One initiator's way of asking for a connection."""

    @property
    def initiator(self) -> Side:
        """Which side opened the connection: the internal one, but for inbound forwards."""

    @property
    def via(self) -> str:
        """The protocol or forward, for the event log."""

    @property
    def forward(self) -> Endpoint | None:
        """The port forward that it came in by: where that listens. None where it came in by another way."""

    @property
    def request(self) -> Endpoint | None:
        """The destination, once it is known."""

    @property
    def question(self) -> Question | None:
        """What the initiator asks for instead of a connection to a destination; `request` is no destination then."""

    @property
    def early_data(self) -> bytes:
        """What came behind the request, for the destination."""

    @property
    def codec(self) -> HttpExchange | None:
        """Rewrites what passes, where the protocol wants that."""

    def receive_data(self, data: bytes) -> bytes:
        """Take in what the initiator sent; returns what it is to be answered.

        Raises:
            ProtocolError: with the reply that the initiator gets.
        """

    def grant(self, bound: Endpoint | None) -> bytes:
        """The words for: connected, from this address of ours. To a `question`: the answer; see `Handshake.grant`."""

    def refuse(self, failure: DialFailure) -> bytes | None:
        """The words for: not connected, and why. None where only a RST can say so."""

    def forget_words(self) -> None:
        """Drop the parser's state: the request was answered, and no codec is at work."""

    def redirect(self) -> None:
        """Make the codec's next destination the request."""


class PendingConnection(Protocol):
    """A connection that was asked for. Exactly one of `grant`, `refuse` and `ignore` is called, once."""

    @property
    def leg(self) -> Leg:
        """Our half of the initiator's side."""

    @property
    def initiator(self) -> Side:
        """Which side asked."""

    @property
    def via(self) -> str:
        """By which protocol or forward, for the event log."""

    @property
    def destination(self) -> Endpoint:
        """What it asked for."""

    @property
    def early_data(self) -> bytes:
        """What came with the request, for the destination. The driver reads the leg for what comes later."""

    @property
    def codec(self) -> HttpExchange | None:
        """Rewrites what passes between the two legs, where the protocol wants that."""

    def grant(self, bound: Endpoint | None) -> None:
        """Tell the initiator that it is connected, from this address of ours if that is known."""

    def refuse(self, failure: DialFailure) -> None:
        """Answer why it is not connected, and end: in its protocol, or by a RST."""

    def send_through(self, leg: Leg) -> None:
        """Send what is still to be said through this leg, which stands in front of `leg`."""

    def ignore(self, *, once: bool) -> None:
        """Leave it without an answer. Where it can be repeated, as a SYN can, only `once`, or each time."""

    def next_request(self) -> PendingConnection:
        """What the initiator asks for next, on the same leg: the codec has another destination for it."""


class Dial(Protocol):
    """A connection in the making."""

    def abandon(self) -> None:
        """Give up; neither callback is called."""


class Dialler(Protocol):
    """Opens connections to what this host's own sockets do not reach."""

    def reaches(self, destination: Endpoint, side: Side) -> bool:
        """Whether it is the one that opens connections to this destination, which lies on this side."""

    def connect(
        self,
        destination: Endpoint,
        side: Side,
        connected: Callable[[Any, Endpoint], None],
        failed: Callable[[DialFailure], None],
        client: Callable[[], Endpoint | None],
    ) -> Dial:
        """Begin to connect; exactly one of `connected` and `failed` is called, later.

        The first is given our leg, and sets its owner before it returns. `client` tells on whose behalf it is, if that
        is known.
        """


class Names(Protocol):
    """Answers names."""

    def resolve_as(self, override: ResolveOverride) -> None:
        """Answer a name by this address from now on."""


class Host(Protocol):
    """Takes the connections of a front end."""

    engine: Engine
    """What runs their legs."""
    log: EventLog
    """Where a front end records what concerns no connection."""
    connect_timeout_s: float
    """How long a connection may take."""

    def accept(self, leg: Leg, conversation: Conversation) -> None:
        """Take over a connection whose initiator has yet to make its request."""

    def take(self, pending: PendingConnection) -> None:
        """Take over a connection that was asked for."""

    def dial_through(self, dialler: Dialler) -> None:
        """Have this open the connections to what it reaches, from now on."""

    def share_names(self, names: Names) -> None:
        """Have this know, too, which names are answered by the relay itself from now on."""


class FrontEnd(Protocol):
    """A way in."""

    def open(self, host: Host) -> None:
        """Begin to hand over connections.

        Raises:
            ConfigError: it cannot be opened where it was wanted.
        """

    def close(self) -> None:
        """Hand over nothing more. What was handed over goes on. Harmless when repeated."""

    def describe(self) -> str:
        """Where it listens, and what for, in one line."""

    def support(self, want: Want) -> Support | None:
        """How well its connections show what is wanted, where that differs from what the host gives; else None."""
