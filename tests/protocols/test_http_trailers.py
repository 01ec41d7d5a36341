"""Trailers that have no business where they are: what plain http passes on of them."""

from __future__ import annotations

from support.exchanges import exchange

UNFIT = (
    b"Authorization: x\r\nConnection: X-Mine\r\nContent-Encoding: gzip\r\nContent-Length: 7\r\nContent-Range: x\r\n"
    b"Content-Type: text/html\r\nCookie: x\r\nExpect: 100-continue\r\nHost: b.test\r\nKeep-Alive: x\r\n"
    b"Max-Forwards: 1\r\nProxy-Authenticate: x\r\nPROXY-Authorization: Basic x\r\nProxy-Connection: x\r\n"
    b"Proxy-Authentication-Info: x\r\nSet-Cookie: x\r\nTE: trailers\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n"
    b"Upgrade: x\r\nWWW-Authenticate: x\r\nX-Mine: x\r\n"
)


def test_trailers_that_frame_route_or_authenticate_go_no_further() -> None:
    chunks = b"2\r\nok\r\n0\r\nX-Sum: 1\r\n" + UNFIT + b"x-last: 2\r\n\r\n"
    passed = b"2\r\nok\r\n0\r\nX-Sum: 1\r\nx-last: 2\r\n\r\n"
    codec = exchange(
        b"POST http://a.test/ HTTP/1.1\r\nHost: a.test\r\nConnection: X-Mine\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    assert codec.from_client(chunks) == passed
    head = b"HTTP/1.1 200 OK\r\nConnection: X-Mine\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert codec.from_origin(head + chunks).partition(b"\r\n\r\n")[2] == passed
