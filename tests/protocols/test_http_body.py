"""Bodies out of their framing: what h11's own readers make of the same bytes, and in pieces of any size."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import NamedTuple

import h11
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from relay.protocols._http_body import (
    MAX_CHUNK_LINE_BYTES,
    Body,
    ChunkedBody,
    LengthBody,
    MalformedBody,
    UntilCloseBody,
    request_body,
    response_body,
)
from relay.protocols._http_fields import HeadFields
from relay.protocols._http_head import MAX_FIELDS

HEAD = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


class Read(NamedTuple):
    """What a reader made of a stream."""

    data: bytes
    trailers: list[tuple[bytes, bytes]] | None
    """None while the body is not complete."""
    left: bytes
    """What follows it; nothing while it is not complete."""
    faulty: bool = False


def as_h11_reads(stream: bytes) -> Read:
    reader, data = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20), b""
    reader.receive_data(HEAD + stream)
    try:
        while (event := reader.next_event()) is not h11.NEED_DATA:
            if isinstance(event, h11.Data):
                data += event.data
            elif isinstance(event, h11.EndOfMessage):
                return Read(data, event.headers.raw_items() if event.headers else [], reader.trailing_data[0])
    except h11.RemoteProtocolError:
        return Read(data, None, b"", faulty=True)
    return Read(data, None, b"")


def as_we_read(cuts: Sequence[bytes], most_chunks: int = 1000) -> Read:
    body, buffer, data = ChunkedBody(), bytearray(), b""
    try:
        for cut in cuts:
            buffer += cut
            while not body.complete:
                more, chunks = body.read(buffer, most_chunks)
                assert chunks <= most_chunks + MAX_FIELDS + 2
                data += more
                if not more and chunks < most_chunks:
                    break
    except MalformedBody:
        return Read(data, None, b"", faulty=True)
    return Read(data, list(body.trailers) if body.complete else None, bytes(buffer) if body.complete else b"")


WORDS = [
    b"1\r\nx\r\n",
    b"5\r\nhello\r\n",
    b"a;n=v\r\n0123456789\r\n",
    b"0\r\n",
    b"\r\n",
    b"0\r\n\r\n",
    b"X: y\r\n",
    b"\n",
    b"00",
]
WORDS += [
    b"5",
    b"\r",
    b"_",
    b" ",
    b"\t",
    b";",
    b"-1\r\n",
    b"0x1\r\n",
    b"FFFFFFFFFFFFFFFFFFFF\r\n",
    b"GET / HTTP/1.1\r\n\r\n",
]


@given(st.lists(st.one_of(st.sampled_from(WORDS), st.binary(max_size=4)), max_size=12).map(b"".join), st.data())
@example(b"1\r\nx\r\n0\r\nX: y\r\n\r\nGET / HTTP/1.1\r\n", None)
@example(b"1\r\nx\r\n0\r\nno colon\r\n\r\n", None)
def test_chunks_are_read_as_h11_reads_them_however_they_are_cut(stream: bytes, data: st.DataObject | None) -> None:
    expected = as_h11_reads(stream)
    every = sorted(data.draw(st.sets(st.integers(0, len(stream)), max_size=8))) if data is not None else []
    ways = [[stream], [stream[at : at + 1] for at in range(len(stream))]]
    ways.append([stream[start:end] for start, end in zip([0, *every], [*every, len(stream)], strict=True)])
    for cuts in ways:
        for most_chunks in (1, 2, 1000):
            assert as_we_read(cuts, most_chunks) == expected, (cuts, most_chunks)


@pytest.mark.parametrize(
    "line",
    [b"1_0", b"+1", b"-1", b"0x1", b" 1", b"1 ;x", b"1;x\ny", b"1\n1", b"", b";x", b"g", b"1" * 21, b"\xb9", b"1\x0b"],
)
def test_a_length_is_digits_and_nothing_that_only_python_takes_for_some(line: bytes) -> None:
    stream = line + b"\r\n" + b"x" * 16 + b"\r\n0\r\n\r\n"
    assert as_we_read([stream]) == as_h11_reads(stream) == Read(b"", None, b"", faulty=True)


@pytest.mark.parametrize("end", [b"x\r\n", b"\n", b"\rx", b"\r\rx"])
def test_a_chunk_is_as_long_as_it_says(end: bytes) -> None:
    stream = b"1\r\na" + end + b"0\r\n\r\n"
    assert as_we_read([stream]) == as_h11_reads(stream) == Read(b"a", None, b"", faulty=True)


def test_a_chunk_header_has_an_end() -> None:
    longest = b"1;" + b"x" * (MAX_CHUNK_LINE_BYTES - 4)
    assert as_we_read([longest + b"\r\na\r\n0\r\n\r\n"]) == Read(b"a", [], b"")
    assert not as_we_read([longest + b"\r"]).faulty
    assert as_we_read([longest + b"xx"]).faulty
    assert as_we_read([longest + b"x\r\n"]).faulty


def test_a_chunk_header_takes_no_longer_for_what_its_extension_is_of() -> None:
    def taken_s(filling: bytes) -> float:
        began_s = time.process_time()
        for _ in range(20):
            assert as_we_read([b"1;" + filling * (MAX_CHUNK_LINE_BYTES - 8) + b"\nx\r\n"]).faulty
        return time.process_time() - began_s

    assert min(taken_s(b" ") for _ in range(3)) < 20 * max(taken_s(b"x") for _ in range(3)) + 0.02


def test_trailers_are_so_many_and_no_more() -> None:
    fields = [(b"a", b"b")] * MAX_FIELDS
    stream = b"0\r\n" + b"a: b\r\n" * MAX_FIELDS
    assert as_we_read([stream + b"\r\n"]) == Read(b"", fields, b"")
    assert as_we_read([stream + b"c: d\r\n\r\n"]).faulty
    assert as_we_read([b"0\r\na: " + b"x" * (1 << 16)]).faulty


def test_a_large_body_passes_in_large_pieces() -> None:
    body, buffer = ChunkedBody(), bytearray(b"100000\r\n" + b"x" * 200_000)
    assert [len(body.read(buffer, 9)[0]) for _ in range(5)] == [65_528, 65_536, 65_536, 3400, 0]


@pytest.mark.parametrize(
    ("status", "method", "fields", "kind"),
    [
        (200, b"GET", [], UntilCloseBody),
        (200, b"GET", [("Content-Length", "3")], LengthBody),
        (200, b"GET", [("Transfer-Encoding", "chunked"), ("Content-Length", "3")], ChunkedBody),
        (200, b"GET", [("Transfer-Encoding", "Chunked")], ChunkedBody),
        (200, b"HEAD", [("Transfer-Encoding", "chunked")], None),
        (200, b"HEAD", [("Content-Length", "3")], None),
        (204, b"GET", [("Transfer-Encoding", "chunked")], None),
        (304, b"GET", [("Content-Length", "3")], None),
    ],
)
def test_the_head_says_how_a_response_ends(
    status: int, method: bytes, fields: list[tuple[str, str]], kind: type[Body] | None
) -> None:
    body = response_body(
        HeadFields(h11.Response(status_code=status, headers=fields).headers.raw_items()), status, method
    )
    assert isinstance(body, kind or LengthBody)
    assert body.complete is (kind is None)


@pytest.mark.parametrize(
    ("field", "complete"), [(("X", "y"), True), (("Content-Length", "0"), True), (("Content-Length", "1"), False)]
)
def test_a_request_has_a_body_only_if_it_says_so(field: tuple[str, str], complete: bool) -> None:
    head = h11.Request(method="POST", target="/", headers=[("Host", "x"), field])
    assert request_body(HeadFields(head.headers.raw_items())).complete is complete
