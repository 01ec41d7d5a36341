"""How much one call of plain http's codec parses at most: what is left waits until other flows have had their turn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from relay.errors import ProtocolError
from relay.protocols import HttpHandshake, _http_request
from relay.protocols._http_head import LINE_COST, MAX_FIELDS
from relay.protocols._http_parse import parse_request
from relay.protocols.http_exchange import _WORK
from support.exchanges import GET, exchange

POST = b"POST http://a.test/ HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
NO_CONTENT = b"HTTP/1.1 204 \r\n\r\n"
HINT = b"HTTP/1.1 103 \r\n\r\n"
TINY = b"1\r\nx\r\n"
MANY = 10_000


def calls(call: Callable[[bytes], bytes], is_behind: Callable[[], bool], data: bytes) -> list[bytes]:
    """What each call gives until all of it is done."""
    outputs = [call(data)]
    while is_behind():
        outputs.append(call(b""))
    return outputs


def test_tiny_chunks_of_a_request_are_taken_a_share_at_a_time() -> None:
    codec = exchange(POST)
    outputs = calls(codec.from_client, lambda: codec.behind_client, TINY * MANY)
    assert max(output.count(b"x") for output in outputs) <= _WORK
    assert b"".join(outputs).count(b"x") == MANY
    assert not codec.paused


def test_tiny_chunks_of_a_response_are_taken_a_share_at_a_time() -> None:
    codec = exchange()
    outputs = calls(codec.from_origin, lambda: codec.behind_origin, CHUNKED + TINY * MANY + b"0\r\n\r\n")
    assert max(output.count(b"x") for output in outputs) <= _WORK
    assert b"".join(outputs).count(b"x") == MANY
    assert outputs[-1].endswith(b"0\r\n\r\n")


def test_responses_that_are_none_yet_are_taken_a_share_at_a_time() -> None:
    codec = exchange()
    outputs = calls(codec.from_origin, lambda: codec.behind_origin, HINT * 1000 + NO_CONTENT)
    assert max(output.count(HINT) for output in outputs) <= _WORK // (2 * LINE_COST)
    assert b"".join(outputs) == HINT * 1000 + NO_CONTENT


def test_a_head_counts_for_as_long_as_it_is() -> None:
    hint = b"HTTP/1.1 103 \r\nx: " + b"a " * 1500 + b"x\r\n\r\n"
    codec = exchange()
    outputs = calls(codec.from_origin, lambda: codec.behind_origin, hint * 20)
    assert [output.count(b"103") for output in outputs] == [1] * 20 + [0]


def test_more_may_come_while_something_is_left() -> None:
    codec = exchange(POST)
    sent = codec.from_client(TINY * 1000)
    assert codec.behind_client
    sent += codec.from_client(TINY * 1000 + b"0\r\n\r\n" + GET)
    sent += b"".join(calls(codec.from_client, lambda: codec.behind_client, b""))
    assert sent.count(b"x") == 2000
    assert sent.endswith(b"0\r\n\r\n")
    codec.from_origin(NO_CONTENT)
    assert codec.from_client(b"").startswith(b"GET / HTTP/1.1\r\n")


def test_a_response_of_256_fields_is_taken_and_one_of_more_is_not() -> None:
    head = b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * MAX_FIELDS
    codec = exchange()
    assert codec.from_origin(head + b"\r\n").count(b"a: b\r\n") == MAX_FIELDS
    with pytest.raises(ProtocolError, match="no valid response: there are more than 256 header fields") as caught:
        exchange().from_origin(head + b"c: d\r\n\r\n")
    assert caught.value.reply.startswith(b"HTTP/1.1 502 ")


@pytest.mark.parametrize("stream", [POST, CHUNKED], ids=["request", "response"])
def test_trailers_are_limited_as_heads_are(stream: bytes) -> None:
    codec = exchange(POST if stream is POST else GET)
    if stream is CHUNKED:
        codec.from_origin(CHUNKED)
    call = codec.from_client if stream is POST else codec.from_origin
    with pytest.raises(ProtocolError, match="more than 256"):
        call(b"0\r\n" + b"a:\r\n" * 16_000 + b"\r\n")


def test_a_head_that_trickles_in_is_parsed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    line = _http_request._REQUEST_LINE

    class Counted:
        @staticmethod
        def fullmatch(*arguments: Any) -> object:
            seen.append("line")
            return line.fullmatch(*arguments)

    def counted(head: bytes) -> object:
        seen.append("head")
        return parse_request(head)

    monkeypatch.setattr(_http_request, "_REQUEST_LINE", Counted)
    monkeypatch.setattr("relay.protocols._http_request.parse_request", counted)
    handshake = HttpHandshake(None)
    for byte in GET.replace(b"\r\n\r\n", b"\r\nA: " + b"x" * 1000 + b"\r\n\r\n"):
        handshake.receive_data(bytes((byte,)))
        handshake.next_event()
    assert seen == ["line", "head"]
