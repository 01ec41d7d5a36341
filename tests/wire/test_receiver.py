"""The receiver: bytes in any order, cut anyhow, come out as the stream; the window is not overrun, nor taken back."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from relay.wire.receiver import Receiver

FIRST = 0xFFFF_FE00


@given(
    st.binary(max_size=400),
    st.integers(1, 100),
    st.integers(0, 1 << 32),
    st.one_of(st.none(), st.integers(1, 200)),
)
def test_whatever_arrives_in_whatever_order_is_read_as_the_stream(
    stream: bytes, window: int, seed: int, limit: int | None
) -> None:
    chance, receiver = random.Random(seed), Receiver(window)  # noqa: S311 - to be repeated
    receiver.start(FIRST, 40)
    if limit is not None:
        receiver.limit(limit)
    read, buffer = b"", memoryview(bytearray(64))
    edge = receiver.right
    for _ in range(100_000):
        if receiver.finished and not receiver.unread:
            break
        # A peer that sends anything at all of its stream, also what it may not send.
        start = chance.randint(max(0, len(read) - 50), len(stream))
        end = chance.randint(start, min(len(stream), start + 80))
        receiver.take(FIRST + start, memoryview(stream)[start:end])
        if end == len(stream):
            receiver.take_fin(FIRST + end)
        assert receiver.next - receiver.finished <= edge
        assert len(receiver._buffer) <= 2 * window
        if chance.random() < 0.5:
            size = chance.randint(1, 64)
            read += bytes(buffer[: receiver.read_into(buffer[:size])])
        assert receiver.next + receiver.offer() >= edge
        edge = max(edge, receiver.right)
    assert read == stream
    assert receiver.finished


def test_a_fin_beyond_the_window_is_not_taken() -> None:
    receiver = Receiver(10)
    receiver.start(0, 10)
    receiver.take_fin(10)
    receiver.take(0, bytes(10))
    assert not receiver.finished
    receiver.take_fin(10)  # the window is full
    assert not receiver.finished
    receiver.offer()
    receiver.take_fin(10)
    assert receiver.finished
    assert receiver.next == 11


def test_a_second_fin_elsewhere_changes_nothing() -> None:
    receiver = Receiver(100)
    receiver.start(0, 10)
    receiver.take_fin(20)
    receiver.take_fin(30)
    receiver.take(0, bytes(40))
    assert (receiver.unread, receiver.finished) == (20, True)


def test_bytes_before_the_fin_that_are_said_to_be_beyond_it_are_not_taken() -> None:
    receiver = Receiver(100)
    receiver.start(0, 10)
    receiver.take(10, bytes(20))
    receiver.take_fin(5)
    receiver.take(0, bytes(10))
    assert (receiver.unread, receiver.finished) == (5, True)
