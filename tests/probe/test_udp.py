"""UDP between a probe and its server, and what is found about a NAT's mappings."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.address import Endpoint
from relay.errors import ProtocolError
from relay.probe import PROBES, Findings, open_probe_server, run_probes
from relay.probe.protocol.datagrams import (
    ECHO,
    LATER,
    REPLY_BYTES,
    REQUEST_BYTES,
    Reply,
    Request,
    read_reply,
    read_request,
    session_of,
    write_reply,
    write_request,
)
from relay.probe.server import limits
from relay.probe.server.datagrams import Ration
from relay.profiles import load_profile
from support.probing import JumpingClock, found_through, probed
from support.udp_nat import UdpNat, bound, open_udp_nat

_KEY, _SESSION = b"k" * 32, b"12345678"
pytestmark = pytest.mark.anyio


def test_requests_and_replies_cross() -> None:
    request = Request(_SESSION, 7, LATER, (1.5, 300.0))
    assert read_request(write_request(request, _KEY), _KEY) == request
    for host in ("192.0.2.7", "2001:db8::7"):
        reply = Reply(7, 1, host, 4711)
        assert read_reply(write_reply(reply, _KEY), _KEY) == reply


def test_all_replies_to_a_request_are_no_longer_than_it() -> None:
    assert 2 * REPLY_BYTES <= REQUEST_BYTES


@given(st.integers(0, 40), st.integers(1, 255))
def test_what_is_mangled_is_no_request(at: int, by: int) -> None:
    datagram = bytearray(write_request(Request(_SESSION, 7, ECHO), _KEY))
    datagram[at] ^= by
    with pytest.raises(ProtocolError):
        read_request(bytes(datagram), _KEY)


@given(st.binary(max_size=120))
def test_any_other_datagram_is_none(data: bytes) -> None:
    for read in (session_of, lambda each: read_request(each, _KEY), lambda each: read_reply(each, _KEY)):
        with pytest.raises(ProtocolError):
            read(data)


def test_a_session_has_one_address_and_so_many_requests_each_of_which_counts_once() -> None:
    ration = Ration()
    requests = [Request(_SESSION, number, ECHO) for number in range(1, limits.MAX_DATAGRAMS_A_SECOND + 3)]
    assert ration.takes(requests[0], "192.0.2.1", 0.5)
    assert not ration.takes(requests[0], "192.0.2.1", 0.5)
    assert not ration.takes(requests[1], "192.0.2.2", 0.5)
    assert all(ration.takes(request, "192.0.2.1", 0.5) for request in requests[1:-2])
    assert not ration.takes(requests[-2], "192.0.2.1", 0.9)
    assert ration.takes(requests[-1], "192.0.2.1", 1.1)


async def test_a_datagram_without_a_sessions_key_gets_no_reply() -> None:
    async with open_probe_server(Endpoint("127.0.0.1", 0)) as server:
        with bound() as sock:
            for datagram in (b"", b"\0rq\x01", write_request(Request(_SESSION, 1, ECHO), _KEY), bytes(REQUEST_BYTES)):
                sock.sendto(datagram, server.address)
            for _ in range(20):
                await anyio.sleep(0.005)
            with pytest.raises(BlockingIOError):
                sock.recv(1)


async def notes_behind(**settings: Any) -> list[str]:
    """What is said about UDP behind such a NAT."""
    clock, findings = JumpingClock(), Findings()
    async with probed("transparent", "direct", clock=clock) as (server, nat, course):
        udp_nat = UdpNat(clock, **settings)
        async with (
            open_udp_nat(udp_nat, server.address, server.other.address) as (main, other),
            anyio.create_task_group() as tasks,
        ):
            tasks.start_soon(clock.run, nat)
            plan = replace(course.plan, patience_s=0.1)
            way = replace(course, server=main, other=other, control=server.address, plan=plan)
            await run_probes(way, [probe for probe in PROBES if probe.name == "udp"], findings, clock=clock)
            tasks.cancel_scope.cancel()
    return [note for note in findings.notes if note.startswith("UDP: ")]


async def test_a_nat_that_forgets_and_filters_is_described() -> None:
    notes = await notes_behind(alone_s=30, after_s=120)
    assert [note for note in notes if "mapping was" not in note] == [
        "UDP: both ports of the server see the same port",
        "UDP: the server sees a port that is another than the app's",
        "UDP: what comes from another port of the server is not let through",
        "UDP: what the app sends kept a mapping 3 times of 3",
        "UDP: what comes from the server kept a mapping 3 times of 3",
    ]
    alone, exchanged = sorted((words_of(note) for note in notes if "mapping was" in note), key=lambda words: words[1])
    assert alone[0] == "one datagram"
    assert 27 <= alone[1] <= 30 < alone[2] <= 34
    assert exchanged[0] == "an exchange"
    assert 108 <= exchanged[1] <= 120 < exchanged[2] <= 134


def words_of(note: str) -> tuple[str, float, float]:
    """After what, how long it lived, and how long it did not."""
    after, _, rest = note.removeprefix("UDP: after ").partition(" a mapping was there for ")
    lived, _, died = rest.partition(" s, and gone after ")
    return after, float(lived), float(died.removesuffix(" s"))


async def test_a_nat_that_only_its_own_side_keeps_awake_is_described() -> None:
    notes = await notes_behind(alone_s=60, after_s=60, inbound_refreshes=False, filters=False)
    assert "UDP: what comes from another port of the server is let through" in notes
    assert "UDP: what the app sends kept a mapping 3 times of 3" in notes
    assert "UDP: what comes from the server kept a mapping 0 times of 3" in notes


async def test_the_mappings_of_a_relay_are_described_through_its_socks5_proxy() -> None:
    found = await found_through("slirp", "proxy", ["udp"], plan={"patience_s": 0.1})
    idle_s: Any = load_profile("slirp").stack.settings["udp_idle_s"]
    lasting = [words_of(note) for note in found.notes if "mapping was" in note]
    assert sorted(after for after, _, _ in lasting) == ["an exchange", "one datagram"]
    for _, lived_s, died_s in lasting:  # the relay looks as often as a mapping lasts
        assert lived_s <= 2 * idle_s
        assert died_s >= idle_s
    assert "UDP: what comes from another port of the server is let through" in found.notes


async def test_without_a_nat_a_mapping_outlives_all_that_is_tried() -> None:
    found = await found_through("transparent", "direct", ["udp"])
    assert "UDP: after one datagram a mapping was there for 600 s, the longest that was tried" in found.notes
    assert "UDP: the server sees a port that is the app's own" in found.notes


async def test_where_no_udp_gets_through_that_is_said() -> None:
    found = await found_through("transparent", "http", ["udp"])
    assert "UDP: not measured: an HTTP proxy carries no UDP" in found.notes
