"""Plain http forwarding, seen from both ends.

Whatever a client sends, an origin gets requests that a strict server reads, the same ones however the bytes were cut;
whatever an origin sends, a client gets responses that a strict client reads, likewise. The strict ones are h11's.
In `http_exchange` anything happens at any time: nothing but `ProtocolError` comes of it, and no buffer without bounds.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TypeAlias

import h11

from fuzz.targets._api import cuts, target
from fuzz.targets.handshakes import check_reply
from relay.errors import ProtocolError
from relay.events import DialFailure, FailureKind
from relay.protocols import NEED_DATA, Connect, HttpExchange, HttpHandshake
from relay.protocols._http_request import ProxyRequest

_ROOM_BYTES = 1 << 20
_MOST_KEPT_BYTES = 64 * 1024
_REFUSED = DialFailure(FailureKind.REFUSED)
_OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

_OFFER = [(b"Host", b"a.test"), (b"Connection", b"upgrade"), (b"Upgrade", b"websocket")]

_Message: TypeAlias = tuple[object, ...]
"""An HTTP message as its reader saw it: its head, its body in one piece, its trailers, whether it was whole."""

_CLIENT_TOKENS = (
    b"GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n",
    b"GET http://b.test:81?q HTTP/1.0\r\n\r\n",
    b"POST http://a.test/ HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello",
    b"PUT http://a.test/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"HEAD http://a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n",
    b"5\r\nhello\r\n",
    b"0\r\n\r\n",
    b"0\r\nX: y\r\n\r\n",
    b"Connection: close, upgrade\r\n",
    b"GET http://a.test/ HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    b"Connection: host, content-length\r\n",
    b"Upgrade: websocket\r\n",
    b"Expect: 100-continue\r\n",
    b"CONNECT a.test:443 HTTP/1.1\r\n\r\n",
    b"\r\n",
)
_ORIGIN_TOKENS = (
    _OK,
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.1 101 \r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
    b"HTTP/1.0 200 OK\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"HTTP/1.1 204 \r\nTransfer-Encoding: chunked\r\n\r\n",
    b"HTTP/1.1 304 \r\nContent-Length: 3\r\n\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Content-Length: 3\r\n",
    b"Connection: close, x\r\n",
    b"Connection: keep-alive\r\n",
    b"5\r\nhello\r\n",
    b"0\r\nX: y\r\n\r\n",
    b"\r\n",
)


@target(*_CLIENT_TOKENS)
def fuzz_http_client(data: bytes) -> str:
    """A client's whole stream, toward origins that answer each request."""
    outcomes = [_serve(chunks) for chunks in cuts(data)]
    assert all(outcome == outcomes[0] for outcome in outcomes), outcomes
    requests, fault = outcomes[0]
    return "broken off" if fault else " ".join(str(message[1])[:12] for message in requests)


def _serve(chunks: list[bytes]) -> tuple[list[_Message], bool]:
    handshake, rest, event = HttpHandshake(None), list(chunks), None
    requests: list[_Message] = []
    try:
        while rest and not isinstance(event, Connect):
            handshake.receive_data(rest.pop(0))
            event = handshake.next_event()
        if handshake.codec is None:
            return [], False
        session = _Session(handshake.codec, requests)
        for chunk in rest:
            if session.codec.paused:
                session.answer()
            if not session.codec.paused:
                session.hear(chunk)
        session.answer()
        session.pass_on(session.codec.client_eof())
        session.connect()
        session.answer()
        assert session.codec.wants_close or session.codec.origin_done
    except ProtocolError as error:
        check_reply(error.reply)
        # How much of a request that is broken off got through depends on when it came.
        return [request for request in requests if request[-1]], True
    return requests, False


@dataclass
class _Session:
    """One exchange, and the origin that it has reached."""

    codec: HttpExchange
    requests: list[_Message]
    origin: h11.Connection = field(default_factory=lambda: h11.Connection(h11.SERVER))
    raw: bool = False

    def __post_init__(self) -> None:
        self.connect()

    def hear(self, data: bytes = b"") -> None:
        """Take in what the client sent, and reach the origins that it asks for."""
        self.pass_on(self.codec.from_client(data))
        self.connect()
        while self.codec.behind_client:
            self.pass_on(self.codec.from_client(b""))
            self.connect()

    def connect(self) -> None:
        while self.codec.next_destination is not None:
            where = str(self.codec.next_destination)
            self.origin = h11.Connection(h11.SERVER, max_incomplete_event_size=_ROOM_BYTES)
            self.requests.append((where, None, b"", [], False))
            self.pass_on(self.codec.start())

    def pass_on(self, data: bytes) -> None:
        """Have the origin read what came; a strict reader raises where it is no HTTP."""
        if not data:
            return
        self.origin.receive_data(data)
        while (event := self.origin.next_event()) is not h11.NEED_DATA and event is not h11.PAUSED:
            where, head, body, trailers, _ = self.requests[-1]
            match event:
                case h11.Request():
                    if head is not None:
                        self.requests.append((where, None, b"", [], False))
                    seen = (event.method, event.target, list(event.headers), event.http_version)
                    self.requests[-1] = (where, seen, b"", [], False)
                case h11.Data(data=more):
                    assert isinstance(body, bytes)
                    self.requests[-1] = (where, head, body + bytes(more), trailers, False)
                case h11.EndOfMessage():
                    self.requests[-1] = (where, head, body, list(event.headers), True)

    def answer(self) -> None:
        """Answer every request that is whole."""
        while self.origin.our_state is h11.SEND_RESPONSE and self.origin.their_state is not h11.SEND_BODY:
            out = self.origin.send(h11.Response(status_code=200, headers=[(b"Content-Length", b"0")]))
            out += self.origin.send(h11.EndOfMessage())
            self.codec.from_origin(out)
            if self.origin.our_state is self.origin.their_state is h11.DONE:
                self.origin.start_next_cycle()
            self.hear()


_ASKED: tuple[tuple[bytes, bytes], ...] = (
    (b"GET", b"GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n"),
    (b"HEAD", b"HEAD http://a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n"),
    (b"GET", b"GET http://a.test/ HTTP/1.0\r\n\r\n"),
    (b"GET", b"GET http://a.test/ HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"),
    (b"POST", b"POST http://a.test/ HTTP/1.1\r\nHost: a.test\r\nContent-Length: 9\r\n\r\nunfin"),
    (b"GET", b"GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nraw"),
)


@target(*_ORIGIN_TOKENS, b"0", b"1", b"2", b"3", b"4", b"5")
def fuzz_http_origin(data: bytes) -> str:
    """An origin's whole stream and its FIN, in answer to the request that the first byte picks."""
    which, stream = data[:1], data[1:]
    method, request = _ASKED[(which[0] if which else 0) % len(_ASKED)]
    views = [_hear(method, request, chunks) for chunks in cuts(stream)]
    assert all(view == views[0] for view in views), views
    return f"{method.decode()} {views[0][0]!s}{' broken off' * views[0][-1]}"


def _hear(method: bytes, request: bytes, chunks: list[bytes]) -> tuple[list[object], list[object], bool]:
    """What a strict client hears, and whether the origin broke the rules."""
    handshake = HttpHandshake(None)
    handshake.receive_data(request)
    assert isinstance(handshake.next_event(), Connect)
    codec = handshake.codec
    assert codec is not None
    codec.start()
    out = b""
    try:
        for chunk in filter(None, chunks):
            out += codec.from_origin(chunk)
            while codec.behind_origin:
                out += codec.from_origin(b"")
            codec.from_client(b"")
        out += codec.origin_eof()
    except ProtocolError as error:
        out += error.reply
        statuses, heard = _read(method, request, out, complete=not codec.response_started)
        # The relay's own response says what it stumbled over, and so depends on how much it had seen.
        return statuses, heard if codec.response_started else [], True
    return *_read(method, request, out, complete=True), False


def _read(method: bytes, request: bytes, out: bytes, *, complete: bool) -> tuple[list[object], list[object]]:
    client = h11.Connection(h11.CLIENT, max_incomplete_event_size=_ROOM_BYTES)
    headers = [(b"Host", b"a.test")]
    if b"Upgrade:" in request:
        headers += [(b"Connection", b"upgrade"), (b"Upgrade", b"websocket")]
    client.send(h11.Request(method=method, target=b"/", headers=headers))
    client.send(h11.EndOfMessage())
    client.receive_data(out)
    statuses: list[object] = []
    rest: list[object] = []
    body, ended = b"", False
    try:
        while (event := client.next_event()) not in (h11.NEED_DATA, h11.PAUSED) or not ended:
            match event:
                case h11.InformationalResponse() | h11.Response():
                    if b" HTTP/1.0\r\n" in request:
                        check_for_http_1_0(event)
                    statuses.append(event.status_code)
                    rest.append(list(event.headers))
                case h11.Data(data=data):
                    body += bytes(data)
                case h11.EndOfMessage():
                    rest += [list(event.headers), "whole"]
                    break
                case _ if ended or event is h11.PAUSED:
                    break
                case _:
                    client.receive_data(b"")
                    ended = True
    except h11.RemoteProtocolError:
        assert not complete or not out, "a client was given what is no HTTP"
    return statuses, [*rest, body, client.trailing_data]


def check_for_http_1_0(head: h11.Response | h11.InformationalResponse) -> None:
    """A client of HTTP/1.0 knows no chunks, and is not to wait for an end that does not come."""
    fields = dict(head.headers)
    assert b"transfer-encoding" not in fields
    assert fields[b"connection"] in (b"close", b"keep-alive")
    if fields[b"connection"] == b"keep-alive":
        assert b"content-length" in fields or head.status_code in (204, 304)


@target(*_CLIENT_TOKENS, *_ORIGIN_TOKENS, b"\x1eC", b"\x1eO", b"\x1ec", b"\x1eo", b"\x1er")
def fuzz_http_exchange(data: bytes) -> str:
    """Anything at any time. Steps are parted by 0x1e: `C` and what the client sends, `O` and what the origin sends,
    `c` and `o` their FINs, `r`: the origin that is to be dialled refuses.
    """
    first, *steps = data.split(b"\x1e")
    handshake = HttpHandshake(None)
    handshake.receive_data(first)
    try:
        if handshake.next_event() is NEED_DATA or handshake.codec is None:
            return "no exchange"
        return _Exchange(handshake.codec).play(steps)
    except ProtocolError as error:
        refused = re.search(rb"(?m)^HTTP/1\.1 4", error.reply)  # behind what an origin said, perhaps
        check_reply(error.reply[refused.start() :] if refused is not None else b"")
        return str(error).partition("\n")[0]


@dataclass
class _Exchange:
    """Plays the driver, which keeps the codec's rules."""

    codec: HttpExchange
    client_ended: bool = False
    origin_ended: bool = False
    closing: bool = False
    done: bool = False
    spoke_unasked: bool = False
    asked: ProxyRequest | None = None
    reader: h11.Connection = field(default_factory=lambda: h11.Connection(h11.CLIENT))

    def play(self, steps: list[bytes]) -> str:
        for step in steps:
            what, data = step[:1], step[1:]
            if self.codec.next_destination is not None:
                if what == b"r":
                    assert self.codec.refuse(_REFUSED) == b"" or self.codec.wants_close
                    assert self.codec.refuse(_REFUSED) == b"", "refused once"
                    return "refused"
                self.origin_ended = self.spoke_unasked = False
                self.take(to_origin=self.codec.start())
            self.step(what, data)
            assert len(self.codec._reader.buffer) <= _MOST_KEPT_BYTES + 8192 + len(data) + 2
            assert len(self.codec._from_origin) <= _MOST_KEPT_BYTES
        return "went well"

    def step(self, what: bytes, data: bytes) -> None:
        match what:
            case b"C" if not self.client_ended and not self.codec.paused:
                self.hear(data)
            case b"O" if not self.origin_ended and data:
                self.spoke_unasked = self.spoke_unasked or self.goes_beyond(data)
                self.take(to_client=self.codec.from_origin(data))
                while self.codec.behind_origin:
                    self.take(to_client=self.codec.from_origin(b""))
                self.hear()
            case b"c" if not self.client_ended:
                self.client_ended = True
                self.take(to_origin=self.codec.client_eof())
            case b"o" if not self.origin_ended:
                self.origin_ended = True
                self.take(to_client=self.codec.origin_eof())
                self.hear()

    def hear(self, data: bytes = b"") -> None:
        self.take(to_origin=self.codec.from_client(data))
        while self.codec.behind_client:
            self.take(to_origin=self.codec.from_client(b""))

    def goes_beyond(self, data: bytes) -> bool:
        """Whether there is more in it than the response that is awaited; h11's reader says so."""
        if self.asked is not self.codec._request:
            self.asked = self.codec._request
            self.reader = h11.Connection(h11.CLIENT, max_incomplete_event_size=_ROOM_BYTES)
            self.reader.send(h11.Request(method=self.asked.head.method, target=b"/", headers=_OFFER))
            self.reader.send(h11.EndOfMessage())
        if self.codec._response.switched or not self.codec._awaits_response:
            return not self.codec._response.switched
        self.reader.receive_data(data)
        try:
            while self.reader.next_event() not in (h11.NEED_DATA, h11.PAUSED):
                pass
        except h11.RemoteProtocolError:
            return True
        return self.reader.their_state is h11.DONE and self.reader.trailing_data[0] != b""

    def take(self, *, to_client: bytes = b"", to_origin: bytes = b"") -> None:
        assert not (self.closing and to_client), "nothing for the client after its FIN"
        assert not (self.done and to_origin), "nothing for the origin after its FIN"
        asked_again = to_origin and self.codec._request is not self.asked and self.codec.next_destination is None
        assert not (self.spoke_unasked and asked_again), "what it says next may be no answer"
        self.closing = self.closing or self.codec.wants_close
        self.done = self.codec.origin_done
