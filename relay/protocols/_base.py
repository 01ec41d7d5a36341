"""What every protocol a client may speak to the proxy port has in common.

A handshake is a machine without sockets: bytes in, events out, and bytes to answer with.

    receive_data(bytes)
    next_event() --> Send(bytes)       write this now, then ask again
                 --> Connect(where)    the request is complete; trailing_data came after it
                 --> Resolve(host)     the request is complete, and wants no connection; Tor's SOCKS5 alone has it
                 --> Associate(end)    the request is complete, and wants to send datagrams; SOCKS5 alone has it
                 --> Bind(peer)        the request is complete, and wants a connection from this peer; SOCKS has it
                 --> NEED_DATA         nothing until more arrives
                 raises ProtocolError  write its reply, if any, and close
    grant(bound) or refuse(failure) --> the bytes that answer the request

A reader sees the whole buffer and consumes one complete message or nothing, so a request that trickles in byte by byte
and one glued to the client's first data are the same case.
"""

from __future__ import annotations

import enum
import hmac
import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

from relay.address import Endpoint
from relay.errors import ProtocolError
from relay.events import DialFailure

if TYPE_CHECKING:
    from relay.protocols.http_exchange import HttpExchange

MAX_NAME_BYTES = 255  # RFC 1928 section 5: the length of a name is one byte; SOCKS4a is held to the same
# RFC 1123 section 2.1, and the underscore that real names have. Other scripts come as A-labels (RFC 5890).
_NAME = re.compile(rf"[A-Za-z0-9_.-]{{1,{MAX_NAME_BYTES}}}")


@dataclass(frozen=True, slots=True)
class Credentials:
    """The one user that may use the proxy. Comparisons take the same time however much of a guess is right."""

    username: str
    password: str = field(repr=False)

    def match(self, username: bytes | str, password: bytes | str) -> bool:
        """Whether both are right, compared as UTF-8 bytes."""
        return self.match_username(username) & hmac.compare_digest(_utf8(self.password), _utf8(password))

    def match_username(self, username: bytes | str) -> bool:
        """Whether the name alone is right: all that SOCKS4 can ask for."""
        return hmac.compare_digest(_utf8(self.username), _utf8(username))


@dataclass(frozen=True, slots=True)
class Send:
    """Bytes to write to the client before anything else can come of it."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Connect:
    """The client's request is complete: it wants to be connected to `destination`."""

    destination: Endpoint


@dataclass(frozen=True, slots=True)
class Resolve:
    """The client's request is complete: it asks for a name's address or, with `reverse`, for an address's name."""

    host: str
    reverse: bool


@dataclass(frozen=True, slots=True)
class Associate:
    """The client's request is complete: it wants to send datagrams, from this port of its own; 0 is any."""

    port: int


@dataclass(frozen=True, slots=True)
class Bind:
    """The client's request is complete: it wants a connection from `peer`, whose port means nothing.

    With `others_end_it` a connection from another host is the end of that, as SOCKS4 has it.
    """

    peer: Endpoint
    others_end_it: bool


class NeedData(enum.Enum):
    """The type of `NEED_DATA`."""

    NEED_DATA = "NEED_DATA"


NEED_DATA: Final = NeedData.NEED_DATA
"""No event before more data has been received."""

Question: TypeAlias = Resolve | Associate | Bind
"""A request for something else than a connection to a destination."""
HandshakeEvent: TypeAlias = Send | Connect | Question | NeedData
_REQUESTS = (Connect, Resolve, Associate, Bind)


class Handshake(Protocol):
    """The server's side of one client's handshake.

    Not guaranteed: anything after a `ProtocolError` but the same error again; that `receive_data` has a limit after
    `Connect` (bytes are for the pump then, or for the codec).
    """

    name: str
    """`socks4`, `socks4a`, `socks5`, `http-connect` or `http`; settled when `Connect` has come."""
    codec: HttpExchange | None
    """What carries the bytes from `Connect` on, for plain http; None where they pass as they are."""

    def receive_data(self, data: bytes) -> None:
        """Take in what the client sent."""

    def next_event(self) -> HandshakeEvent:
        """The next thing to do.

        Raises:
            ProtocolError: the connection is to be closed after its reply.
        """

    @property
    def trailing_data(self) -> bytes:
        """What the client sent after its request, for the destination; nothing for plain http (the codec has it)."""

    def grant(self, bound: Endpoint | None) -> bytes:
        """The reply that the client is connected; `bound` is the relay's own address on the external side.

        To a client that sent `Resolve` it is the answer, as a host with port 0; to one that sent `Associate`, where its
        datagrams go. One that sent `Bind` gets two: where the peer is to connect to, then the peer's own address.
        """

    def refuse(self, failure: DialFailure) -> bytes:
        """The reply that says why the client is not connected; close after it."""


class BufferedHandshake:
    """A handshake of messages: one buffer, and for each state one reader of it.

    A reader returns NEED_DATA and leaves the buffer alone, or consumes its message and sets the next reader.
    """

    codec: HttpExchange | None = None

    def __init__(self, first_reader: Callable[[Any], HandshakeEvent]) -> None:
        self._buffer = bytearray()
        # The method as its class has it: bound to this handshake it would hold what holds it, buffer and all.
        self._read = first_reader
        self._requested = False
        self._fault: tuple[str, bytes] | None = None  # not the error, whose traceback holds this handshake

    def receive_data(self, data: bytes) -> None:
        self._buffer += data

    def next_event(self) -> HandshakeEvent:
        if self._fault is not None:
            message, reply = self._fault
            raise ProtocolError(message, reply=reply)
        if self._requested:
            return NEED_DATA
        try:
            event = self._read(self)
        except ProtocolError as error:
            self._fault = (str(error), error.reply)
            raise
        self._requested = isinstance(event, _REQUESTS)
        return event

    @property
    def trailing_data(self) -> bytes:
        return bytes(self._buffer) if self._requested else b""

    def _take(self, count: int) -> bytes:
        taken = bytes(self._buffer[:count])
        del self._buffer[:count]
        return taken


def read_host(raw: bytes) -> str:
    """A host as it came in a request: a name of ASCII letters, or an address literal, IPv6 in brackets or not.

    Raises:
        ValueError: it is neither; the message is for a person.
    """
    text = raw.decode("ascii", "replace")
    if _NAME.fullmatch(text):
        return text
    literal = text[1:-1] if text[:1] == "[" and text[-1:] == "]" else text
    try:
        address = ipaddress.IPv6Address(literal)
        # It takes anything for a zone, line ends and brackets too; an interface's name is what getaddrinfo will take.
        if address.scope_id is not None and not _NAME.fullmatch(address.scope_id):
            raise ValueError
        return str(address)
    except ValueError:
        shown = repr(raw[:MAX_NAME_BYTES]) if b"@" not in raw else "a host with an @ in it"
        raise ValueError(f"{shown} is neither a name nor an address (names of other scripts come as xn--...)") from None


def _utf8(text: bytes | str) -> bytes:
    # surrogateescape: a name given on the command line may have held bytes that are not UTF-8
    return text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text
