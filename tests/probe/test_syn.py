"""The SYN as it was sent and as it arrives."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.probe.probes.syn import own_syn
from relay.probe.protocol.report import Report, read_report
from relay.probe.protocol.syn import changes, read_syn, syn_in_words
from support.probing import found_through


def syn(options: str, *, flags: int = 0x02, version: int = 4) -> bytes:
    """The headers of a SYN with these options, in hexadecimal."""
    kinds = bytes.fromhex(options)
    kinds += b"\0" * (-len(kinds) % 4)
    tcp = b"\x80\x00\x00\x50" + bytes(8) + bytes([(20 + len(kinds)) // 4 << 4, flags]) + b"\xfa\xf0" + bytes(4) + kinds
    ip = bytes([0x45, 0]) + bytes(6) + b"\x40" + bytes(11) if version == 4 else b"\x60" + bytes(6) + b"\x3f" + bytes(32)
    return ip + tcp


_LINUX = "020405b4 0402 080a0000000100000000 01 030307"


def test_what_a_syn_asks_for_is_read_and_said() -> None:
    seen = read_syn(syn(_LINUX))
    assert syn_in_words(seen) == "MSS 1460, window scale 7, SACK, timestamps, window 64240, TTL 64"
    assert seen["syn_options"] == 0x02040803
    assert read_syn(syn("", flags=0xC2, version=6)) == {
        "syn_ttl": 63, "syn_window": 64240, "syn_sack": 0, "syn_timestamps": 0, "syn_ecn": 1, "syn_options": 0,
    }  # fmt: skip


def test_what_changed_on_the_way_is_named_and_what_differs_with_the_way_is_not() -> None:
    sent = read_syn(syn(_LINUX, flags=0xC2))
    assert changes(sent, read_syn(syn("020405a0" + _LINUX[8:], flags=0xC2))) == []
    assert changes(sent, read_syn(syn("020405b4"))) == [
        "window scale 7 became none",
        "SACK is gone",
        "timestamps is gone",
        "ECN is gone",
    ]
    moved = read_syn(syn("0402 020405b4 030307 080a0000000100000000", flags=0xC2))
    assert changes(sent, moved) == [
        "the options came as SACK, MSS, window scale, timestamps, not as MSS, SACK, timestamps, window scale"
    ]


@given(st.binary(max_size=120))
def test_any_headers_are_read_and_fit_a_report(headers: bytes) -> None:
    report = Report()
    report.add(0.0, "state", read_syn(headers))
    assert read_report(report.as_values()).entries[0].value == read_syn(headers)


def test_this_hosts_own_syn_is_read() -> None:
    assert own_syn()["syn_mss"] > 536


@pytest.mark.anyio
async def test_the_syn_arrives_as_it_was_sent_where_nothing_is_between() -> None:
    found = await found_through("transparent", "direct", ["syn"])
    assert "the SYN's options arrive as they were sent" in found.notes
    assert any(note.startswith("the SYN arrives with MSS ") for note in found.notes)
