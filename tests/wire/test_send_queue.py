"""The send queue: every cut is a piece of the stream, whatever was appended and released before."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from relay.wire.send_queue import SendQueue

FIRST = 0xFFFF_FFF0  # positions do not wrap


@given(
    st.lists(st.one_of(st.binary(max_size=50), st.integers(4000, 5000).map(bytes)), max_size=12),
    st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1), st.booleans()), max_size=12),
)
def test_every_cut_is_that_piece_of_the_stream(appended: list[bytes], cuts: list[tuple[float, float, bool]]) -> None:
    queue, stream = SendQueue(FIRST), b""
    for data in appended:
        queue.append(bytearray(data))
        stream += data
    assert (queue.start, queue.end, len(queue)) == (FIRST, FIRST + len(stream), len(stream))
    kept = []
    for begin, share, releases in cuts:
        start = queue.start + int(begin * len(queue))
        size = int(share * (queue.end - start))
        piece = queue.cut(start, size)
        kept.append((piece, stream[start - FIRST : start - FIRST + size]))
        if releases:
            queue.release(start)
            assert queue.start == start
    for piece, expected in kept:
        assert bytes(piece) == expected  # also after what it was cut from was released


def test_a_cut_within_one_chunk_is_no_copy() -> None:
    queue = SendQueue(0)
    queue.append(bytes(64_000))
    assert isinstance(queue.cut(100, 1460), memoryview)


def test_single_bytes_become_few_chunks() -> None:
    queue = SendQueue(0)
    for _ in range(10_000):
        queue.append(b"x")
    assert len(queue._chunks) <= 3
    queue.release(10_000)
    assert len(queue) == len(queue._chunks) == 0


def test_large_chunks_are_not_merged() -> None:
    queue = SendQueue(0)
    for _ in range(3):
        queue.append(bytes(5000))
    assert len(queue._chunks) == 3


def test_the_memory_that_was_appended_may_be_reused() -> None:
    queue, data = SendQueue(0), bytearray(b"first")
    queue.append(memoryview(data))
    data[:] = b"other"
    assert bytes(queue.cut(0, 5)) == b"first"
