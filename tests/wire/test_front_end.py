"""Wire mode's front end in a relay, with a link in memory: what commands to the relay change for a guest."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import dns.message
import pytest

from relay.abilities import KINDS, Ability, Want
from relay.address import ResolveOverride
from relay.config import configure
from relay.errors import ConfigError
from relay.log import EventLog
from relay.observe import Fidelity
from relay.server import Relay, open_relay
from relay.wire.frontend import WireFrontEnd
from relay.wire.guest_network import GuestNetwork
from relay.wire.packet import UDP, build_ipv4, build_udp, parse_ipv4, parse_udp
from support.memory_link import MemoryLink

EXACT = Fidelity.EXACT
ADDRESSES = GuestNetwork().addresses


@asynccontextmanager
async def serving() -> AsyncIterator[tuple[Relay, MemoryLink]]:
    """A relay whose guest is on a link in memory."""
    config = configure("vmware-fusion", listen=None, has_guests=True)
    link = MemoryLink()
    front_end = WireFrontEnd(link, config.profile.stack.build(), GuestNetwork(), config.seed)
    async with open_relay(config, EventLog(), front_ends=[front_end]) as relay:
        yield relay, link


def ask(link: MemoryLink, name: str) -> list[str]:
    """What the guest is answered at once, as it stands in the answer."""
    query = dns.message.make_query(name, "A").to_wire()
    header = build_udp(ADDRESSES.guest, ADDRESSES.dns, 40_000, 53, query)
    packet = build_ipv4(ADDRESSES.guest, ADDRESSES.dns, UDP, len(header) + len(query), ttl=64) + header + query
    link.arriving.append(packet)
    link.on_readable()
    (sent,) = link.take_sent()
    ip = parse_ipv4(memoryview(sent))
    assert ip is not None
    udp = parse_udp(ip)
    assert udp is not None
    return [str(each) for answer in dns.message.from_wire(bytes(udp.payload)).answer for each in answer]


@pytest.mark.anyio
async def test_a_name_that_is_answered_from_now_on_is_answered_to_guests_too() -> None:
    async with serving() as (relay, link):
        relay.resolve_as(ResolveOverride("api.test", 443, "192.0.2.7"))
        assert ask(link, "api.test") == ["192.0.2.7"]
        relay.resolve_as(ResolveOverride("api.test", 443, "192.0.2.8"))
        assert ask(link, "API.test") == ["192.0.2.8"]


@pytest.mark.anyio
async def test_the_stack_of_a_relay_that_runs_stays_as_it_is_and_that_is_said() -> None:
    async with serving() as (relay, _):
        with pytest.raises(ConfigError, match="settings: the stack's are those"):
            relay.adjust("tos-reset.mask=0xff", "stack.mss=1400")
        assert relay.profile.tos_mask == 0xE0, "all of them or none"
        relay.adjust("stack.mss=1460")  # as it is


def test_what_it_claims_to_show_exactly_is_what_its_own_tcp_does() -> None:
    """A probe goes by the host's socket, so the host says how well; an acknowledgement does not wait for the server."""
    short = {want for want in KINDS if (given := WireFrontEnd.support(want)) is None or given.fidelity is not EXACT}
    assert short == {Want(Ability.ACK, by="server")}
    assert WireFrontEnd.support(Want(Ability.PROBE, external=True)) is None
