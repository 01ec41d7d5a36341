"""Datagrams between a probe and its server: requests that prove the session's key, and replies that are never longer.

    request  magic, session, sequence, what, two times in ms, proof; padded to 96 bytes
    reply    magic, sequence, which of the request's replies, and the source that the server saw, proof; 48 bytes

What: ECHO has one reply at once; OTHER one from the server's other port; LATER one after each of the times that is not
0; QUIET none. A request has two replies at most, so what goes to its source is never more than what came from there.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import struct
from dataclasses import dataclass

from relay.errors import ProtocolError
from relay.probe.protocol.proof import SESSION_BYTES

REQUEST_BYTES = 96
REPLY_BYTES = 48
ECHO, OTHER, LATER, QUIET = range(4)
MOST_LATER_S = 7200.0
_REQUEST, _REPLY = b"\0rq\x01", b"\0ra\x01"
_REQUEST_HEAD = struct.Struct(f"!4s{SESSION_BYTES}sIB3xII")
_REPLY_HEAD = struct.Struct("!4sIBBH16s")
_PROOF_BYTES = 16


@dataclass(frozen=True)
class Request:
    """What a client asks for."""

    session: bytes
    sequence: int
    what: int
    times_s: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True)
class Reply:
    """What the server says."""

    sequence: int
    index: int
    """Which of the request's replies: from 0."""
    host: str
    """Where the request came from, as the server saw it."""
    port: int


def write_request(request: Request, key: bytes) -> bytes:
    """The datagram."""
    first_ms, second_ms = (round(time_s * 1000) for time_s in request.times_s)
    head = _REQUEST_HEAD.pack(_REQUEST, request.session, request.sequence, request.what, first_ms, second_ms)
    return (head + _proof(key, head)).ljust(REQUEST_BYTES, b"\0")


def session_of(datagram: bytes) -> bytes:
    """Whose request it would be.

    Raises:
        ProtocolError: it is none.
    """
    if len(datagram) != REQUEST_BYTES or not datagram.startswith(_REQUEST):
        raise ProtocolError("no request")
    return datagram[4 : 4 + SESSION_BYTES]


def read_request(datagram: bytes, key: bytes) -> Request:
    """A genuine request.

    Raises:
        ProtocolError: it is none.
    """
    session_of(datagram)
    head = datagram[: _REQUEST_HEAD.size]
    _, session, sequence, what, first_ms, second_ms = _REQUEST_HEAD.unpack(head)
    if not hmac.compare_digest(datagram[len(head) : len(head) + _PROOF_BYTES], _proof(key, head)):
        raise ProtocolError("another key")
    times_s = first_ms / 1000, second_ms / 1000
    if what > QUIET or max(times_s) > MOST_LATER_S:
        raise ProtocolError("no such request")
    return Request(session, sequence, what, times_s)


def write_reply(reply: Reply, key: bytes) -> bytes:
    """The datagram."""
    address = ipaddress.ip_address(reply.host)
    packed = address.packed.rjust(16, b"\0")
    head = _REPLY_HEAD.pack(_REPLY, reply.sequence, reply.index, address.version, reply.port, packed)
    return (head + _proof(key, head)).ljust(REPLY_BYTES, b"\0")


def read_reply(datagram: bytes, key: bytes) -> Reply:
    """A genuine reply.

    Raises:
        ProtocolError: it is none.
    """
    if len(datagram) != REPLY_BYTES or not datagram.startswith(_REPLY):
        raise ProtocolError("no reply")
    head = datagram[: _REPLY_HEAD.size]
    if not hmac.compare_digest(datagram[len(head) : len(head) + _PROOF_BYTES], _proof(key, head)):
        raise ProtocolError("another key")
    _, sequence, index, version, port, packed = _REPLY_HEAD.unpack(head)
    host = ipaddress.IPv6Address(packed) if version == 6 else ipaddress.IPv4Address(packed[-4:])
    return Reply(sequence, index, str(host), port)


def _proof(key: bytes, head: bytes) -> bytes:
    return hmac.new(key, b"datagram\0" + head, hashlib.sha256).digest()[:_PROOF_BYTES]
