"""Ethernet frames."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.wire.frame import BROADCAST, IPV4, Frame, build_frame, is_group, parse_frame

GUEST, GATEWAY = bytes.fromhex("000c29000001"), bytes.fromhex("005056e00002")


@given(st.binary(min_size=6, max_size=6), st.integers(0x600, 0xFFFF), st.binary(max_size=20))
def test_what_is_built_is_read_back(destination: bytes, kind: int, payload: bytes) -> None:
    frame = build_frame(destination, GUEST, kind) + payload
    assert parse_frame(memoryview(frame)) == Frame(destination, GUEST, kind, memoryview(payload))


@pytest.mark.parametrize(
    "frame",
    [
        build_frame(GATEWAY, GUEST, IPV4)[:13],
        build_frame(GATEWAY, GUEST, 0x05FF) + bytes(60),
        build_frame(GATEWAY, BROADCAST, IPV4) + bytes(60),
    ],
    ids=["cut off", "IEEE 802.3", "from a group"],
)
def test_other_frames_are_none(frame: bytes) -> None:
    assert parse_frame(memoryview(frame)) is None


@given(st.binary(max_size=40))
def test_no_bytes_make_the_parser_raise(data: bytes) -> None:
    parse_frame(memoryview(data))


def test_a_group_is_distinguished_from_a_station() -> None:
    assert is_group(BROADCAST)
    assert is_group(bytes.fromhex("333300000001"))
    assert not is_group(GUEST)
