"""Plain HTTP's codec: as it is once the first request's origin was reached, or with a driver's part around it."""

from __future__ import annotations

from relay.events import DialFailure, FailureKind
from relay.protocols import Connect, Credentials, HttpExchange, HttpHandshake, open_handshake

ALICE = Credentials("alice", "wönder")
BASIC = b"Proxy-Authorization: Basic YWxpY2U6d8O2bmRlcg==\r\n"
GET = b"GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n"
GET_SENT = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"
GET_B = b"GET http://b.test/ HTTP/1.1\r\nHost: b.test\r\n\r\n"
GET_B_SENT = b"GET / HTTP/1.1\r\nHost: b.test\r\n\r\n"
POST_10 = b"POST http://a.test/ HTTP/1.1\r\nHost: a.test\r\nContent-Length: 10\r\n\r\n12345"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
REFUSED = DialFailure(FailureKind.REFUSED)


def exchange(request: bytes = GET) -> HttpExchange:
    """The codec that this first request leads to, connected."""
    handshake = HttpHandshake(None)
    handshake.receive_data(request)
    handshake.next_event()
    assert handshake.codec is not None
    handshake.codec.start()
    return handshake.codec


class Session:
    """The driver's part, without its sockets: connects whenever the codec asks for it."""

    def __init__(
        self, first: bytes, *rest: bytes, credentials: Credentials | None = None, connect: bool = True
    ) -> None:
        handshake = open_handshake(first, credentials)
        for chunk in rest:
            handshake.receive_data(chunk)
        event = handshake.next_event()
        assert isinstance(event, Connect)
        assert handshake.codec is not None
        self.codec: HttpExchange = handshake.codec
        assert self.codec.next_destination == event.destination
        self.origins: list[tuple[str, bytes]] = []
        self.client = b""
        if connect:
            self.connect()

    @property
    def sent(self) -> bytes:
        """What the latest origin got."""
        return self.origins[-1][1]

    def connect(self) -> None:
        while (where := self.codec.next_destination) is not None:
            self.origins.append((str(where), b""))
            self._to_origin(self.codec.start())

    def from_client(self, *chunks: bytes) -> Session:
        for data in chunks:
            self._to_origin(self.codec.from_client(data))
            self.connect()
            while self.codec.behind_client:
                self._to_origin(self.codec.from_client(b""))
                self.connect()
        return self

    def client_eof(self) -> Session:
        self._to_origin(self.codec.client_eof())
        return self

    def from_origin(self, *chunks: bytes) -> Session:
        for data in chunks:
            self.client += self.codec.from_origin(data)
            while self.codec.behind_origin:
                self.client += self.codec.from_origin(b"")
            self.from_client(b"")
        return self

    def origin_eof(self) -> Session:
        self.client += self.codec.origin_eof()
        return self.from_client(b"")

    def _to_origin(self, data: bytes) -> None:
        where, sent = self.origins[-1]
        self.origins[-1] = (where, sent + data)


def unchunked(message: bytes) -> tuple[bytes, bytes]:
    """The head, and the body with its chunks put together; the last chunk must be there."""
    head, _, rest = message.partition(b"\r\n\r\n")
    body = b""
    while True:
        size, _, rest = rest.partition(b"\r\n")
        count = int(size, 16)
        if count == 0:
            assert rest == b"\r\n"
            return head, body
        body += rest[:count]
        assert rest[count : count + 2] == b"\r\n"
        rest = rest[count + 2 :]
