"""Plain HTTP's codec, as it is once the first request's origin was reached."""

from __future__ import annotations

from relay.protocols import HttpExchange, HttpHandshake

GET = b"GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n"


def exchange(request: bytes = GET) -> HttpExchange:
    """The codec that this first request leads to, connected."""
    handshake = HttpHandshake(None)
    handshake.receive_data(request)
    handshake.next_event()
    assert handshake.codec is not None
    handshake.codec.start()
    return handshake.codec
