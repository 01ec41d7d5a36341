"""The NAT's name server over UDP: real questions to real servers on loopback."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import dns.flags
import dns.message
import dns.rcode
import pytest

from relay.address import Endpoint, ResolveOverride
from relay.wire.dns.forwarder import Forwarder
from relay.wire.host.name_server import NameServer
from relay.wire.host.name_settings import NameSettings
from relay.wire.mappings import End
from relay.wire.packet import UDP, Udp
from support.bench import DEADLINE_S, advance, open_engine
from support.dns_server import DnsServer, records, silence
from support.host_tap import SeenByTap
from support.ports import free_port
from support.small_nat import ADDRESSES, Guest, datagram

pytestmark = pytest.mark.anyio

WWW = records("www.test A 192.0.2.7", "www.test AAAA 2001:db8::7", "mail.test TXT abcd")


class Asking:
    """A guest that asks, and the name server that it asks."""

    def __init__(self, server: NameServer, guest: Guest, tap: SeenByTap, settings: NameSettings) -> None:
        self.server = server
        self.guest = guest
        self.tap = tap
        self.names = tap.names
        self.settings = settings
        self.came = anyio.Event()
        guest.changed = self._on_changed

    def _on_changed(self) -> None:
        self.came.set()

    def put(self, query: dns.message.Message, *, port: int = 40_000) -> None:
        self.server.on_datagram(*datagram(port, ADDRESSES.dns, 53, query.to_wire()))

    async def ask(self, name: str, kind: str = "A") -> dns.message.Message:
        """The answer, as the guest reads it."""
        query = dns.message.make_query(name, kind, use_edns=0)
        self.put(query)
        with anyio.fail_after(DEADLINE_S):
            while not self.guest.received:
                await self.came.wait()
                self.came = anyio.Event()
        ((source, udp),) = self.guest.received
        self.guest.received.clear()
        assert isinstance(udp, Udp)
        assert (source, udp.source_port, udp.destination_port) == ("192.168.27.2", 53, 40_000)
        answer = dns.message.from_wire(bytes(udp.payload))
        assert answer.id == query.id
        assert answer.question == query.question
        return answer


@asynccontextmanager
async def asking(
    *servers: Endpoint,
    resolv_conf: Path = Path("/nonexistent"),
    hosts: Path = Path("/nonexistent"),
    overrides: Sequence[ResolveOverride] = (),
    timeout_s: float = 0.05,
) -> AsyncIterator[Asking]:
    async with open_engine() as (engine, faults):
        guest, tap = Guest(), SeenByTap()
        settings = NameSettings(
            host_address=ADDRESSES.host, servers=servers, overrides=overrides, resolv_conf=resolv_conf, hosts=hosts
        )
        forwarder = Forwarder(timeout_s=timeout_s, tries=2)
        server = NameServer(engine, ADDRESSES.dns, settings, forwarder, guest.send, tap.view)
        yield Asking(server, guest, tap, settings)
        assert server._sockets.keys() <= forwarder._questions.keys()
        server.close()
        server.close()
        assert server._sockets == {}
    assert faults == []


def texts(answer: dns.message.Message) -> list[str]:
    return [rdata.to_text() for rrset in answer.answer for rdata in rrset]


@pytest.mark.parametrize(("name", "kind", "found"), [("www.test", "A", "192.0.2.7"), ("mail.test", "TXT", '"abcd"')])
async def test_a_question_passes_as_it_came_and_so_does_the_answer(
    readiness: str, name: str, kind: str, found: str
) -> None:
    with DnsServer(WWW) as server:
        async with asking(server.endpoint) as guest:
            answer = await guest.ask(name, kind)
            assert texts(answer) == [found]
            ((way, query),) = server.queries
            assert (way, dns.message.from_wire(query).edns) == ("udp", 0)
            assert answer.id == dns.message.from_wire(query).id


async def test_names_that_were_answered_are_reported() -> None:
    with DnsServer(WWW) as server:
        async with asking(server.endpoint, overrides=[ResolveOverride("api.test", 443, "192.0.2.9")]) as guest:
            for name, kind in (("www.test", "A"), ("www.test", "AAAA"), ("mail.test", "TXT"), ("api.test", "A")):
                await guest.ask(name, kind)
            assert guest.names == [("192.0.2.7", "www.test"), ("2001:db8::7", "www.test"), ("192.0.2.9", "api.test")]


async def test_a_tap_is_shown_what_passes_between_us_and_the_server_and_for_whom() -> None:
    with DnsServer(WWW) as server:
        async with asking(server.endpoint) as guest:
            await guest.ask("www.test")
            end = End(ADDRESSES.guest, 40_000)
            assert guest.tap.owned == [(UDP, end)]
            assert [(protocol, of, way) for protocol, of, way, _ in guest.tap.datagrams] == [
                (UDP, end, ">"),
                (UDP, end, "<"),
            ]
            assert guest.tap.datagrams[0][3] == server.queries[0][1]
            assert {near.host for near, _ in guest.tap.ends} == {"127.0.0.1"}
            assert {far for _, far in guest.tap.ends} == {server.endpoint}


async def test_a_truncated_answer_passes_so_that_the_guest_asks_over_tcp() -> None:
    with DnsServer(WWW, udp_bytes=1) as server:
        async with asking(server.endpoint) as guest:
            assert (await guest.ask("www.test")).flags & dns.flags.TC


async def test_a_long_answer_passes_whole() -> None:
    with DnsServer(records(*(f"www.test A 10.0.{number // 256}.{number % 256}" for number in range(250)))) as server:
        async with asking(server.endpoint) as guest:
            assert len(texts(await guest.ask("www.test"))) == 250


async def test_a_server_that_is_silent_is_given_up_for_the_next() -> None:
    with DnsServer(silence) as quiet, DnsServer(WWW) as server:
        async with asking(quiet.endpoint, server.endpoint) as guest:
            assert texts(await guest.ask("www.test")) == ["192.0.2.7"]
            assert len(quiet.queries) == 1


async def test_one_that_does_not_listen_is_given_up_at_once() -> None:
    with DnsServer(WWW) as server:
        async with asking(Endpoint("127.0.0.1", free_port()), server.endpoint, timeout_s=60) as guest:
            assert texts(await guest.ask("www.test")) == ["192.0.2.7"]


@pytest.mark.parametrize(
    "server",
    [None, Endpoint("127.0.0.1", 0), Endpoint("255.255.255.255", 53)],
    ids=["none", "not listening", "cannot be sent to"],
)
async def test_without_a_server_the_answer_is_that_it_failed(server: Endpoint | None) -> None:
    servers = [server._replace(port=server.port or free_port())] if server is not None else []
    async with asking(*servers, timeout_s=60) as guest:
        assert (await guest.ask("www.test")).rcode() == dns.rcode.SERVFAIL


async def test_and_so_it_is_after_the_last_timeout() -> None:
    with DnsServer(silence) as quiet:
        async with asking(quiet.endpoint, timeout_s=0.02) as guest:
            assert (await guest.ask("www.test")).rcode() == dns.rcode.SERVFAIL
            assert len(quiet.queries) == 2


async def test_the_host_s_resolver_is_read_again_when_it_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolv_conf = tmp_path / "resolv.conf"
    with DnsServer(records("www.test A 192.0.2.1")) as one, DnsServer(records("www.test A 192.0.2.2")) as two:
        async with asking(resolv_conf=resolv_conf) as guest:
            assert (await guest.ask("www.test")).rcode() == dns.rcode.SERVFAIL
            assert guest.settings.describe() == f"none, by {resolv_conf}"
            for server, found in ((one, "192.0.2.1"), (two, "192.0.2.2")):
                monkeypatch.setattr("relay.wire.dns.servers.PORT", server.endpoint.port)
                resolv_conf.write_text(f"nameserver 127.0.0.1 # {found}\n")
                assert texts(await guest.ask("www.test")) == [found]
            assert guest.settings.describe() == f"127.0.0.1, by {resolv_conf}"
            resolv_conf.unlink()
            assert (await guest.ask("www.test")).rcode() == dns.rcode.SERVFAIL


async def test_named_servers_are_asked_instead_of_the_host_s(tmp_path: Path) -> None:
    resolv_conf = tmp_path / "resolv.conf"
    resolv_conf.write_text("nameserver 192.0.2.53\n")
    with DnsServer(WWW) as server:
        async with asking(server.endpoint, resolv_conf=resolv_conf) as guest:
            assert texts(await guest.ask("www.test")) == ["192.0.2.7"]
            assert guest.settings.describe() == str(server.endpoint)


async def test_the_hosts_file_answers_and_is_read_again_when_it_changes(tmp_path: Path) -> None:
    hosts = tmp_path / "hosts"
    hosts.write_text("192.0.2.7 server.test\n")
    async with asking(hosts=hosts) as guest:
        assert texts(await guest.ask("Server.Test")) == ["192.0.2.7"]
        assert texts(await guest.ask("7.2.0.192.in-addr.arpa", "PTR")) == ["server.test."]
        assert (await guest.ask("server.test", "AAAA")).rcode() == dns.rcode.NOERROR
        hosts.write_text("192.0.2.77 server.test\n")
        assert texts(await guest.ask("server.test")) == ["192.0.2.77"]


async def test_overrides_answer_also_those_that_come_later() -> None:
    async with asking(overrides=[ResolveOverride("api.test", 443, "127.0.0.1")]) as guest:
        assert texts(await guest.ask("api.test")) == ["192.168.27.1"]
        guest.settings.resolve_as(ResolveOverride("api.test", 443, "192.0.2.8"))
        guest.settings.resolve_as(ResolveOverride("api.test", 80, "192.0.2.9"))
        assert texts(await guest.ask("api.test")) == ["192.0.2.8", "192.0.2.9"]


async def test_what_is_no_query_is_not_answered(readiness: str) -> None:
    with DnsServer(WWW) as server:
        async with asking(server.endpoint) as guest:
            for payload in (b"", b"x" * 11, dns.message.make_response(dns.message.make_query("a.", "A")).to_wire()):
                guest.server.on_datagram(*datagram(40_000, ADDRESSES.dns, 53, payload))
            assert texts(await guest.ask("www.test")) == ["192.0.2.7"]
            assert len(server.queries) == 1


async def test_only_the_server_that_was_asked_can_answer() -> None:
    """Its socket is connected: a stranger's datagram does not get in."""
    with DnsServer(silence) as quiet, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        async with asking(quiet.endpoint, timeout_s=60) as guest:
            query = dns.message.make_query("www.test", "A")
            guest.put(query)
            ((sockets,),) = [list(each.values()) for each in guest.server._sockets.values()]
            forged = dns.message.make_response(query).to_wire()
            stranger.sendto(forged, ("127.0.0.1", sockets.sock.getsockname()[1]))
            advance(guest.server._engine, 0)  # on loopback it is there by now
            assert guest.guest.received == []


async def test_a_question_that_was_asked_again_meanwhile_is_answered_once() -> None:
    with DnsServer(WWW) as server:
        async with asking(server.endpoint) as guest:
            query = dns.message.make_query("www.test", "A")
            for _ in range(3):
                guest.put(query, port=40_001)
            with anyio.fail_after(DEADLINE_S):
                while not guest.guest.received:
                    await guest.came.wait()
            assert len(guest.guest.received) == len(server.queries) == 1
