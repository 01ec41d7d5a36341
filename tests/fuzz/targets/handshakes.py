"""The protocols of the proxy port, as a client's bytes: what comes of them must not depend on how they are cut.

Also: nothing but `ProtocolError` is raised, and its reply is a whole one of the client's protocol, or empty; a client
that never finishes is refused by size; what is asked for is an address or a name that can be written down and read
again; and every answer to a complete request is well-formed.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

import h11

from fuzz.targets._api import cuts, target
from relay.address import Endpoint, parse_endpoint
from relay.errors import ProtocolError
from relay.events import DialFailure, FailureKind
from relay.frontends.proxy import ProxyConversation
from relay.protocols import (
    NEED_DATA,
    Associate,
    Bind,
    Connect,
    Credentials,
    HttpHandshake,
    Resolve,
    Send,
    Socks4Handshake,
    Socks5Handshake,
)
from relay.protocols._base import BufferedHandshake
from relay.protocols.socks5_udp import Unreadable, header_from, read_header

ALICE = Credentials("alice", "wonderland")
BOUND = (None, Endpoint("127.0.0.1", 4711), Endpoint("::1", 4711), Endpoint("fe80::1%eth0", 1), Endpoint("a.test", 1))
FAILURES = tuple(DialFailure(kind, detail) for kind in FailureKind for detail in ("", "ECONNREFUSED from \udcff\n"))

_SOCKS4_TOKENS = (
    b"\x04\x01\x00\x50\x00\x00\x00\x01",
    b"\x04\x01\x00\x50\x7f\x00\x00\x01",
    b"\x04\x02\x00\x50\x7f\x00\x00\x01",
    b"alice\x00",
    b"a.test\x00",
    b"fe80::1%eth0\x00",
    b"\x00",
    b"x" * 256,
)
_SOCKS5_TOKENS = (
    b"\x05\x01\x00",
    b"\x05\x02\x00\x02",
    b"\x05\x01\x02",
    b"\x01\x05alice\x0awonderland",
    b"\x05\x01\x00\x01\x7f\x00\x00\x01\x00\x50",
    b"\x05\x01\x00\x03\x06a.test\x00\x50",
    b"\x05\x01\x00\x03\x0cfe80::1%eth0\x00\x50",
    b"\x05\x01\x00\x03\x05[::1]\x00\x50",
    b"\x05\x01\x00\x04" + bytes(15) + b"\x01\x00\x50",
    b"\x05\x03\x00\x01",
    b"\x05\xf0\x00\x03\x06a.test\x00\x00",
    b"\x05\xf1\x00\x01\x7f\x00\x00\x01\x00\x00",
)
_HTTP_TOKENS = (
    b"CONNECT a.test:443 HTTP/1.1\r\n",
    b"CONNECT [::1]:443 HTTP/1.0\r\n",
    b"GET http://a.test/ HTTP/1.1\r\n",
    b"HEAD http://[fe80::1%25eth0]:80 HTTP/1.1\r\n",
    b"OPTIONS http://u:p@a.test HTTP/1.0\r\n",
    b"Host: a.test\r\n",
    b"Proxy-Authorization: Basic YWxpY2U6d29uZGVybGFuZA==\r\n",
    b"Content-Length: 3\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Connection: upgrade, close\r\n",
    b"Upgrade: websocket\r\n",
    b"Expect: 100-continue\r\n",
    b"\r\n",
    b"\n",
    b" folded\r\n",
    b"x" * 9000,
    b"a: b\r\n" * 9000,
)


class _Outcome(NamedTuple):
    """What came of one client's bytes; the same however they were cut."""

    sent: bytes
    destination: Endpoint | None
    name: str
    trailing: bytes
    fault: str
    reply: bytes


@target(*_SOCKS4_TOKENS)
def fuzz_socks4(data: bytes) -> str:
    # Header, user id, NUL, name: one byte less than all of it can be waiting for more.
    return _same_however_cut(Socks4Handshake, data, lambda kept: 8 + 256 + 255 if 0 in kept[8:] else 8 + 255)


@target(*_SOCKS5_TOKENS)
def fuzz_socks5(data: bytes) -> str:
    return _same_however_cut(Socks5Handshake, data, lambda kept: 2 + 255 + 1 + 254)


@target(*(token[:1].replace(b"\x05", b"\x00") + token[1:] for token in _SOCKS5_TOKENS), bytes(3))
def fuzz_socks5_udp(data: bytes) -> str:
    """A datagram, which is whole or not at all."""
    try:
        header = read_header(data)
    except Unreadable as error:
        return str(error)
    _check_destination(header.destination)
    assert header.size_bytes <= len(data)
    if header.destination.ip is not None:
        without_zone = header.destination._replace(host=header.destination.host.partition("%")[0])
        assert read_header(header_from(header.destination)).destination == without_zone
    return f"to a {_kind(header.destination)}"


@target(*_HTTP_TOKENS)
def fuzz_http_request(data: bytes) -> str:
    # A whole request line and a CR, or header fields and what part of the last line end may be there.
    return _same_however_cut(
        HttpHandshake, data, lambda kept: 8192 + 1 if b"\n" not in kept else kept.index(b"\n") + 64 * 1024
    )


@target(*_SOCKS4_TOKENS, *_SOCKS5_TOKENS, *_HTTP_TOKENS, b"\x16\x03\x01")
def fuzz_proxy_port(data: bytes) -> str:
    """All of them behind one port, told apart by the first byte, as the driver asks for it."""
    for credentials in (ALICE, None):
        outcomes = [_converse(chunks, credentials) for chunks in cuts(data) if data]
        assert all(outcome == outcomes[0] for outcome in outcomes), outcomes
    return " ".join(outcomes[0][:2]) if data else "nothing"


def _converse(chunks: list[bytes], credentials: Credentials | None) -> tuple[str, str, bytes, bytes, str]:
    conversation, answer, rest = ProxyConversation(credentials), b"", list(filter(None, chunks))
    while rest and conversation.request is None:
        try:
            answer += conversation.receive_data(rest.pop(0))
        except ProtocolError as error:
            check_reply(_last_answer(error.reply))
            if not answer and not error.reply:  # the first bytes are shown, as many as there were
                return conversation.via, "unknown", b"", b"", ""
            return conversation.via, str(error), answer + error.reply, b"", ""
    early = b""
    if conversation.request is not None and conversation.codec is None:
        early = conversation.early_data + b"".join(rest)
    return conversation.via, "", answer, early, str(conversation.request)


def _last_answer(reply: bytes) -> bytes:
    """What is left of SOCKS5's answers when those to the greeting and to the password are taken off."""
    for earlier, next_version in ((b"\x05\x00", 5), (b"\x05\x02", 1), (b"\x01\x00", 5)):
        if reply.startswith(earlier) and reply[2:3] == bytes((next_version,)):
            reply = reply[2:]
    return reply


def _same_however_cut(
    protocol: Callable[[Credentials | None], BufferedHandshake], data: bytes, most_bytes: Callable[[bytes], int]
) -> str:
    for credentials in (ALICE, None):
        outcomes = [_feed(protocol(credentials), chunks, most_bytes) for chunks in cuts(data)]
        assert all(outcome == outcomes[0] for outcome in outcomes), outcomes
    whole = outcomes[0]
    return whole.fault or (f"{whole.name} to a {_kind(whole.destination)}" if whole.destination else "unfinished")


def _feed(handshake: BufferedHandshake, chunks: list[bytes], most_bytes: Callable[[bytes], int]) -> _Outcome:
    sent = b""
    destination: Endpoint | None = None
    name = str(getattr(handshake, "name"))  # noqa: B009 - each protocol sets its own
    try:
        for chunk in chunks:
            handshake.receive_data(chunk)
            while (event := handshake.next_event()) is not NEED_DATA:
                assert destination is None, "nothing comes after Connect"
                match event:
                    case Send(data=data):
                        sent += data
                    case Connect(destination=where):
                        destination = where
                        _check_destination(where)
                        _check_answers(handshake)
                    case Resolve(host=host):
                        destination = Endpoint(host, 1)  # the port means nothing
                        _check_destination(destination)
                        _check_answers(handshake)
                    case Bind(peer=peer):
                        destination = Endpoint(peer.host, 1)  # likewise
                        _check_destination(destination)
                        _check_answers(handshake)
                    case Associate(port=port):
                        destination = Endpoint("0.0.0.0", port)
                        _check_answers(handshake)
            kept = bytes(handshake._buffer)
            assert destination is not None or len(kept) <= most_bytes(kept), "kept, and never to be taken"
    except ProtocolError as error:
        fault = str(error)
        assert fault
        assert destination is None, "a request that was understood is not taken back"
        assert handshake.trailing_data == b""
        check_reply(error.reply, b"".join(chunks))
        return _Outcome(sent, None, name, b"", fault, error.reply)
    name = str(getattr(handshake, "name"))  # noqa: B009
    # What plain http leaves behind its head is the codec's, and lies in the same buffer.
    return _Outcome(sent, destination, name, bytes(handshake._buffer) if destination else b"", "", b"")


def _check_destination(destination: Endpoint) -> None:
    assert destination.host.isascii()
    assert destination.host.isprintable()
    assert 0 < destination.port <= 0xFFFF
    assert parse_endpoint(str(destination), where="again") == destination
    if len(destination.host) <= 255:
        again = Socks5Handshake(None)
        again.receive_data(b"\x05\x01\x00\x05\x01\x00\x03" + bytes((len(destination.host),)))
        again.receive_data(destination.host.encode() + destination.port.to_bytes(2))
        assert isinstance(again.next_event(), Send)
        assert again.next_event() == Connect(destination)


def _check_answers(handshake: BufferedHandshake) -> None:
    grant, refuse = getattr(handshake, "grant"), getattr(handshake, "refuse")  # noqa: B009 - of every protocol
    for bound in BOUND:
        answer = grant(bound)
        assert isinstance(answer, bytes)
        if isinstance(handshake, HttpHandshake):
            assert answer in (b"", b"HTTP/1.1 200 Connection established\r\n\r\n")
        else:
            check_reply(answer)
    if handshake.codec is None:  # the codec can say it once; its own targets ask it
        for failure in FAILURES:
            check_reply(refuse(failure))


def check_reply(reply: bytes, request: bytes = b"") -> None:
    """Insist that a client can read this to its end: an answer of SOCKS4, SOCKS5 or HTTP, or nothing at all.

    Without the request it may be the answer to a HEAD, which has no body.
    """
    if not reply:
        return
    match reply[0]:
        case 0x00:
            assert len(reply) == 8
            assert 0x5A <= reply[1] <= 0x5D
        case 0x01:
            assert reply == b"\x01\x01"
        case 0x05 if len(reply) == 2:
            assert reply[1] in (0x00, 0x02, 0xFF)
        case 0x05:
            assert reply[1] <= 0x08
            assert reply[2] == 0
            assert len(reply) == {1: 10, 3: 7 + reply[4], 4: 22}[reply[3]]
        case _:
            _check_response(reply, request)


def _check_response(reply: bytes, request: bytes) -> None:
    head_only = re.match(rb"[\r\n]*HEAD [^ \n]+ HTTP/[0-9]\.[0-9]\r?\n", request) is not None
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method=b"HEAD" if head_only else b"GET", target=b"/", headers=[(b"Host", b"a")]))
    client.send(h11.EndOfMessage())
    client.receive_data(reply)
    response = client.next_event()
    assert isinstance(response, h11.Response)
    assert response.status_code >= 400
    while isinstance(event := client.next_event(), h11.Data):
        pass
    if not request and not isinstance(event, h11.EndOfMessage):
        assert reply.endswith(b"\r\n\r\n")
        return
    assert isinstance(event, h11.EndOfMessage)
    assert client.trailing_data == (b"", False)


def _kind(destination: Endpoint | None) -> str:
    if destination is None or destination.ip is None:
        return "name"
    return f"IPv{destination.ip.version} address"
