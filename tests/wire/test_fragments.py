"""Fragments: what becomes whole, and what never does."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.wire.fragments import MAX_DATAGRAMS, TIMEOUT_S, Fragments, cut
from relay.wire.packet import UDP, Ipv4

DATA = bytes(range(256)) * 20


def fragment(offset: int, more: bool, payload: bytes, *, ident: int = 1) -> Ipv4:
    return Ipv4(1, 2, UDP, 64, 0, ident, False, more, offset, memoryview(payload))


def pieces(data: bytes = DATA, mtu: int = 1500, *, ident: int = 1) -> list[Ipv4]:
    return [fragment(offset, more, payload, ident=ident) for offset, more, payload in cut([data], mtu)]


@given(st.binary(max_size=5000), st.integers(28, 1500), st.integers())
def test_what_was_cut_is_whole_again_in_any_order(data: bytes, mtu: int, seed: int) -> None:
    cuts = pieces(data * 13, max(mtu, 20 + len(data) * 13 // 100))
    random.Random(seed).shuffle(cuts)  # noqa: S311 - to be repeatable
    fragments = Fragments()
    *others, last = [fragments.take(each, 0.0) for each in cuts]
    assert others == [None] * len(others)
    assert last is not None
    assert bytes(last.payload) == data * 13
    assert (last.is_fragment, last.ident) == (False, 1)
    assert len(fragments) == 0


@pytest.mark.parametrize("mtu", [1499, 1500])
def test_what_fits_is_not_cut(mtu: int) -> None:
    assert [(offset, more) for offset, more, _ in cut([b"x" * (mtu - 28), b"y" * 8], mtu)] == [(0, False)]
    assert [(offset, more) for offset, more, _ in cut([], mtu)] == [(0, False)]


def test_every_fragment_but_the_last_is_as_long_as_fits_in_eights() -> None:
    assert [(offset, more, len(data)) for offset, more, data in cut([b"x" * 3000], 1500)] == [
        (0, True, 1480),
        (1480, True, 1480),
        (2960, False, 40),
    ]


def test_two_datagrams_are_apart() -> None:
    one, two = pieces(ident=1), pieces(DATA[::-1], ident=2)
    fragments = Fragments()
    taken = [fragments.take(each, 0.0) for pair in zip(one, two, strict=True) for each in pair]
    assert [bytes(whole.payload) for whole in taken if whole is not None] == [DATA, DATA[::-1]]


def test_the_same_fragment_twice_does_no_harm() -> None:
    fragments = Fragments()
    cuts = pieces()
    taken = [fragments.take(each, 0.0) for each in (cuts[0], *cuts)]
    assert taken[-1] is not None


@pytest.mark.parametrize(
    "wrong",
    [
        [(0, True, 16), (8, True, 16)],  # overlap
        [(8, False, 16), (24, True, 8)],  # behind the end
        [(16, False, 8), (24, False, 8)],  # two ends
        [(16, True, 8), (8, False, 8)],  # an end that is too early
        [(0, True, 7)],  # not in eights
        [(0, True, 0)],  # none at all
        [(65_512, True, 8)],  # longer than a datagram can be
    ],
)
def test_what_makes_no_sense_is_dropped_as_a_whole(wrong: list[tuple[int, bool, int]]) -> None:
    fragments = Fragments()
    for offset, more, size in wrong:
        assert fragments.take(fragment(offset, more, b"x" * size), 0.0) is None
    assert len(fragments) == 0


def test_a_datagram_in_more_parts_than_any_link_makes_is_dropped() -> None:
    fragments = Fragments()
    for offset in range(0, 8 * 129, 8):
        fragments.take(fragment(offset, True, bytes(8)), 0.0)
    assert len(fragments) == 0


def test_what_is_not_whole_in_time_is_forgotten() -> None:
    fragments = Fragments()
    first, *rest = pieces()
    fragments.take(first, 0.0)
    taken = [fragments.take(each, TIMEOUT_S) for each in rest]
    assert set(taken) == {None}


def test_the_oldest_of_too_many_makes_room() -> None:
    fragments = Fragments()
    started = [pieces(ident=ident) for ident in range(MAX_DATAGRAMS + 1)]
    for first, *_ in started:
        fragments.take(first, 0.0)
    assert len(fragments) == MAX_DATAGRAMS
    assert [fragments.take(each, 0.0) for each in started[0][1:]][-1] is None
    assert [fragments.take(each, 0.0) for each in started[-1][1:]][-1] is not None
