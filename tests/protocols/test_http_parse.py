"""What h11's readers make of a head is what its connections make of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import h11
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from relay.protocols._http_parse import Head, parse_request, parse_response

_Read: TypeAlias = tuple[object, ...]

_LINES = st.lists(
    st.sampled_from(
        [
            "Host: a.test",
            "host:b.test",
            "Content-Length: 3",
            "Content-Length: 3, 3",
            "Content-Length: 4",
            "Content-Length: x",
            "Transfer-Encoding: Chunked",
            "Transfer-Encoding: gzip",
            "Connection: close, upgrade",
            "Upgrade: websocket",
            "Expect: 100-continue",
            " folded",
            "X : y",
            "X: \xe9 \t y ",
            "X:",
            "no field",
        ]
    )
    | st.text("aZ: \t\r\n\0\x0b\xe9", max_size=8),
    max_size=5,
)
_ENDS = st.sampled_from(["\r\n", "\n"])


@given(
    st.sampled_from(["GET / HTTP/1.1", "POST http://a.test/ HTTP/1.0", "GET / HTTP/2.0", "CONNECT a:1 HTTP/1.1"])
    | st.text("GET /:HTP1.\t\xe9\x7f", min_size=1, max_size=12),
    _LINES,
    _ENDS,
)
@example("GET / HTTP/1.1", ["Host: a"], "\r\n")
def test_a_request_is_what_a_connection_reads(first: str, lines: list[str], end: str) -> None:
    head = head_of(first, lines, end)
    assert seen(lambda: parse_request(head)) == seen(lambda: by_connection(h11.Connection(h11.SERVER), head))


@pytest.mark.parametrize("offered", [True, False])
@given(
    st.sampled_from(["HTTP/1.1 200 OK", "HTTP/1.0 404", "HTTP/1.1 100 ", "HTTP/1.1 101 Switching", "HTTP/1.1 099 x"])
    | st.text("HTP/1.02 9O\t\xe9\x7f", min_size=1, max_size=16),
    _LINES,
    _ENDS,
)
@example("HTTP/1.1 200 OK", ["Content-Length: 3"], "\r\n")
def test_a_response_is_what_a_connection_reads(offered: bool, first: str, lines: list[str], end: str) -> None:
    asking = h11.Connection(h11.CLIENT)
    offer = [("Upgrade", "websocket"), ("Connection", "upgrade")] if offered else []
    asking.send(h11.Request(method="GET", target="/", headers=[("Host", "a.test"), *offer]))
    asking.send(h11.EndOfMessage())
    head = head_of(first, lines, end)
    assert seen(lambda: parse_response(head, offered=offered)) == seen(lambda: by_connection(asking, head))


def head_of(first: str, lines: list[str], end: str) -> bytes:
    """A whole head; a blank line among these lines is its end."""
    head = end.join([first, *lines, "", ""]).encode("latin-1").lstrip(b"\r\n")
    return head[: h11_end(head)]


def h11_end(head: bytes) -> int:
    return min(end for end in (head.find(b"\n\n") + 2, head.find(b"\n\r\n") + 3) if end > 2)


def by_connection(connection: h11.Connection, head: bytes) -> Head:
    connection.receive_data(head)
    event = connection.next_event()
    assert isinstance(event, h11.Request | h11.Response | h11.InformationalResponse)
    return event


def seen(read: Callable[[], Head]) -> _Read:
    """All that there is to a head; of one that is refused, the status that h11 would answer it with."""
    try:
        head = read()
    except h11.ProtocolError as error:
        return ("refused", error.error_status_hint)
    first = (head.method, head.target) if isinstance(head, h11.Request) else (head.status_code, head.reason)
    return type(head), head.http_version, *first, head.headers.raw_items()
