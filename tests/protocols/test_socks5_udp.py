"""The header of SOCKS5's datagrams, byte for byte (RFC 1928 section 7)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.address import Endpoint
from relay.protocols.socks5_udp import Unreadable, header_from, read_header

# "+----+------+------+----------+----------+----------+
#  |RSV | FRAG | ATYP | DST.ADDR | DST.PORT |   DATA   |
#  +----+------+------+----------+----------+----------+
#  | 2  |  1   |  1   | Variable |    2     | Variable |"
TO_IPV4 = b"\x00\x00\x00\x01\xc0\x00\x02\x07\x00\x35"
TO_NAME = b"\x00\x00\x00\x03\x0bexample.org\x00\x35"
TO_IPV6 = b"\x00\x00\x00\x04" + b"\x20\x01\x0d\xb8" + bytes(11) + b"\x01" + b"\x00\x35"


@pytest.mark.parametrize(
    ("header", "destination"),
    [(TO_IPV4, "192.0.2.7:53"), (TO_NAME, "example.org:53"), (TO_IPV6, "[2001:db8::1]:53")],
)
@pytest.mark.parametrize("payload", [b"", b"payload", bytes(65_000)], ids=len)
def test_a_header_names_the_destination_and_the_payload_is_behind_it(
    header: bytes, destination: str, payload: bytes
) -> None:
    found = read_header(memoryview(header + payload))
    assert (str(found.destination), found.size_bytes) == (destination, len(header))


@pytest.mark.parametrize("header", [TO_IPV4, TO_NAME, TO_IPV6], ids=["ipv4", "name", "ipv6"])
def test_a_header_that_is_cut_off_is_dropped(header: bytes) -> None:
    for size_bytes in range(len(header)):
        with pytest.raises(Unreadable, match="cut off"):
            read_header(header[:size_bytes])


# "An implementation that does not support fragmentation MUST drop any datagram whose FRAG field is other than X'00'."
@pytest.mark.parametrize("fragment", [0x01, 0x7F, 0x80, 0xFF])
def test_a_fragment_is_dropped(fragment: int) -> None:
    with pytest.raises(Unreadable, match="a fragment"):
        read_header(b"\x00\x00" + bytes([fragment]) + TO_IPV4[3:] + b"payload")


@pytest.mark.parametrize(
    ("datagram", "why"),
    [
        (TO_IPV4[:3] + b"\x02" + TO_IPV4[4:], "address type unknown"),
        (TO_IPV4[:3] + b"\x00" + TO_IPV4[4:], "address type unknown"),
        (TO_IPV4[:-2] + b"\x00\x00", "to port 0"),
        (b"\x00\x00\x00\x03\x00\x00\x35payload", "to no name"),
        (b"\x00\x00\x00\x03\x03a\x00b\x00\x35", "to no name"),
        (b"\x00\x00\x00\x03\x05caf\xc3\xa9\x00\x35", "to no name"),
    ],
)
def test_what_goes_nowhere_is_dropped(datagram: bytes, why: str) -> None:
    with pytest.raises(Unreadable, match=why):
        read_header(datagram)


@pytest.mark.parametrize(("source", "header"), [("192.0.2.7", TO_IPV4), ("2001:db8::1", TO_IPV6)])
def test_an_answer_has_its_source_in_the_same_header(source: str, header: bytes) -> None:
    assert header_from(Endpoint(source, 53)) == header


@given(st.binary(max_size=300))
def test_whatever_comes_is_read_or_dropped(datagram: bytes) -> None:
    try:
        found = read_header(datagram)
    except Unreadable:
        return
    assert 10 <= found.size_bytes <= len(datagram) or found.destination.ip is None
    assert found.destination.port
