"""The NAT's name server over TCP: `dig`, and clients with worse manners."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial

import anyio
import dns.message
import dns.rcode
import pytest

from relay.address import Endpoint, ResolveOverride
from relay.events import Side
from relay.loop.engine import Engine
from relay.net.kernel_leg import KernelLeg
from relay.net.listen import Listener, open_listener
from relay.wire.dns.forwarder import Forwarder
from relay.wire.dns.stream import Messages, framed
from relay.wire.host import name_stream
from relay.wire.host.name_server import NameServer
from relay.wire.host.name_settings import NameSettings
from relay.wire.mappings import End
from relay.wire.packet import TCP
from support.bench import DEADLINE_S, advance, in_thread, open_engine
from support.capabilities import need_program
from support.dns_server import DnsServer, Reply, records
from support.host_tap import SeenByTap
from support.ports import free_port
from support.programs import run
from support.small_nat import ADDRESSES, Guest

pytestmark = pytest.mark.anyio

END = End(ADDRESSES.guest, 40_000)

WWW = records("www.test A 192.0.2.7", *(f"long.test A 10.0.{number // 256}.{number % 256}" for number in range(2000)))


class Served:
    """A name server, and where it listens."""

    def __init__(self, engine: Engine, server: NameServer, port: int, tap: SeenByTap) -> None:
        self.engine = engine
        self.server = server
        self.port = port
        self.tap = tap
        self.names = tap.names

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=DEADLINE_S)


@asynccontextmanager
async def served(*servers: Endpoint, overrides: Sequence[ResolveOverride] = ()) -> AsyncIterator[Served]:
    async with open_engine() as (engine, faults):
        guest, tap = Guest(), SeenByTap()
        settings = NameSettings(host_address=ADDRESSES.host, servers=servers, overrides=overrides)
        server = NameServer(engine, ADDRESSES.dns, settings, Forwarder(), guest.send, tap.view)
        listener = Listener(
            engine,
            open_listener(Endpoint("127.0.0.1", 0), where="test"),
            lambda sock: server.serve(KernelLeg(engine, sock, Side.INTERNAL), END),
            lambda reason: None,
            lambda: None,
        )
        yield Served(engine, server, listener.address.port, tap)
        listener.close()
        server.close()
        assert server._streams == set()
    assert faults == []


def query(name: str, ident: int = 0x1234, kind: str = "A") -> bytes:
    return dns.message.make_query(name, kind, id=ident).to_wire()


def read_answers(sock: socket.socket, count: int) -> list[dns.message.Message]:
    """So many answers, or those before the end."""
    messages, found = Messages(), list[dns.message.Message]()
    while len(found) < count and (data := sock.recv(1 << 16)):
        messages.receive_data(data)
        while (message := messages.next_message()) is not None:
            found.append(dns.message.from_wire(message))
    return found


def to_end(sock: socket.socket) -> bytes:
    data = b""
    while piece := sock.recv(1 << 16):
        data += piece
    return data


def texts(answer: dns.message.Message) -> list[str]:
    return [rdata.to_text() for rrset in answer.answer for rdata in rrset]


@pytest.mark.system
async def test_dig_is_answered_over_tcp_also_at_length() -> None:
    dig = need_program("dig")
    with DnsServer(WWW) as server:
        async with served(server.endpoint, overrides=[ResolveOverride("api.test", 443, "127.0.0.1")]) as names:
            for name, found in (("www.test", ["192.0.2.7"]), ("api.test", ["192.168.27.1"])):
                done = await in_thread(partial(run, dig, "+tcp", "+short", "-p", str(names.port), "@127.0.0.1", name))
                assert (done.returncode, done.stdout.split()) == (0, found), done.stderr
            command = (dig, "+tcp", "+short", "+keepopen", "-p", str(names.port), "@127.0.0.1", "long.test", "www.test")
            done = await in_thread(partial(run, *command))
            assert len(done.stdout.split()) == 2001
            assert [way for way, _ in server.queries] == ["tcp"] * 3
            assert names.names[:2] == [("192.0.2.7", "www.test"), ("192.168.27.1", "api.test")]


async def test_a_tap_is_shown_the_connection_to_the_server() -> None:
    question = framed(query("www.test"))
    with DnsServer(WWW) as server:
        async with served(server.endpoint) as names:
            with names.connect() as sock:
                await in_thread(sock.sendall, question)
                await in_thread(read_answers, sock, 1)
                sock.shutdown(socket.SHUT_WR)
                assert await in_thread(to_end, sock) == b""
            (stream,) = names.tap.streams
            assert (stream.end, stream.near.host, stream.far) == (END, "127.0.0.1", server.endpoint)
            (asked, answered, end) = stream.passed
            assert asked == (">", question)
            assert answered[0] == "<"
            assert end == (">", b"FIN")
            assert names.tap.owned == [(TCP, END)]


async def test_questions_may_come_all_at_once_or_byte_by_byte(readiness: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(name_stream, "MAX_PENDING", 10)
    idents = range(name_stream.MAX_PENDING + 20)
    data = b"".join(framed(query("www.test", ident)) for ident in idents)
    with DnsServer(WWW) as server:
        async with served(server.endpoint) as names:
            with names.connect() as sock:
                await in_thread(sock.sendall, data)
                answers = await in_thread(read_answers, sock, len(idents))
                assert [answer.id for answer in answers] == list(idents)
                assert all(texts(answer) == ["192.0.2.7"] for answer in answers)
                for byte in framed(query("www.test", 7)):
                    await in_thread(sock.sendall, bytes([byte]))
                (answer,) = await in_thread(read_answers, sock, 1)
                assert (answer.id, texts(answer)) == (7, ["192.0.2.7"])


async def test_a_client_that_has_finished_gets_its_answers_and_then_the_end() -> None:
    with DnsServer(WWW) as server:
        async with served(server.endpoint) as names:
            with names.connect() as sock:
                sock.sendall(framed(query("long.test", 1)) + framed(query("www.test", 2)))
                sock.shutdown(socket.SHUT_WR)
                answers = await in_thread(read_answers, sock, 99)
                assert [(answer.id, len(texts(answer))) for answer in answers] == [(1, 2000), (2, 1)]


async def test_one_that_asks_nothing_is_let_go_and_so_is_one_that_resets() -> None:
    async with served() as names:
        with names.connect() as sock:
            sock.shutdown(socket.SHUT_WR)
            assert await in_thread(to_end, sock) == b""
        with names.connect() as sock:
            sock.sendall(framed(query("www.test"))[:5])
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        with anyio.fail_after(DEADLINE_S):
            while names.server._streams:  # noqa: ASYNC110 - the client is gone: there is nothing to wait for
                await anyio.sleep(0.005)


async def test_one_that_says_nothing_is_let_go_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(name_stream, "IDLE_S", 0.05)
    async with served() as names:
        with names.connect() as sock:
            assert await in_thread(to_end, sock) == b""


@pytest.mark.parametrize("servers", [[], [0, 0]], ids=["none", "two that do not listen"])
async def test_without_a_server_the_answer_is_that_it_failed(servers: list[int]) -> None:
    absent = [Endpoint("127.0.0.1", free_port()) for _ in servers]
    async with served(*absent) as names:
        with names.connect() as sock:
            sock.sendall(framed(query("www.test", 1)) + framed(query("mail.test", 2)))
            answers = await in_thread(read_answers, sock, 2)
            assert [(answer.id, answer.rcode()) for answer in answers] == [
                (1, dns.rcode.SERVFAIL),
                (2, dns.rcode.SERVFAIL),
            ]


async def test_the_next_server_is_asked_where_one_does_not_listen_or_hangs_up() -> None:
    def hang_up(query: dns.message.Message) -> None:
        return None

    absent = Endpoint("127.0.0.1", free_port())
    with DnsServer(hang_up) as rude, DnsServer(WWW) as server:
        async with served(absent, rude.endpoint, server.endpoint) as names:
            with names.connect() as sock:
                sock.sendall(framed(query("www.test")))
                (answer,) = await in_thread(read_answers, sock, 1)
                assert texts(answer) == ["192.0.2.7"]
                assert [way for way, _ in rude.queries] == ["tcp"]


async def test_a_server_that_hung_up_is_dialled_again_for_the_next_question() -> None:
    replies: list[Reply] = [WWW, lambda query: None, WWW]

    def reply_in_turn(query: dns.message.Message) -> bytes | None:
        return replies.pop(0)(query)

    with DnsServer(reply_in_turn) as server:
        async with served(server.endpoint) as names:
            with names.connect() as sock:
                found = []
                for ident in (1, 2, 3):
                    sock.sendall(framed(query("www.test", ident)))
                    found += await in_thread(read_answers, sock, 1)
                assert [answer.rcode() for answer in found] == [0, dns.rcode.SERVFAIL, 0]


async def test_a_client_that_asks_too_much_at_once_is_not_read_on_until_it_was_answered() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        async with served(Endpoint(*silent.getsockname()[:2])) as names:
            with names.connect() as sock:
                sock.sendall(b"".join(framed(query("www.test", ident)) for ident in range(300)))
                server, _ = await in_thread(silent.accept)
                with server:
                    await in_thread(server.recv, 1)
                    advance(names.engine, 0)
                    (stream,) = names.server._streams
                    assert len(stream._pending) == name_stream.MAX_PENDING


async def test_what_is_no_query_or_no_reply_to_one_is_passed_over() -> None:
    def twice(query: dns.message.Message) -> bytes:
        whole = WWW(query)
        assert whole is not None
        return whole[:2][::-1] + whole[2:] if query.id == 0x0102 else whole

    with DnsServer(twice) as server:
        async with served(server.endpoint) as names:
            with names.connect() as sock:
                answer = dns.message.make_response(dns.message.from_wire(query("www.test"))).to_wire()
                for message in (b"", b"x", answer, query("www.test", 0x0102), query("www.test", 3)):
                    sock.sendall(framed(message))
                (found,) = await in_thread(read_answers, sock, 1)
                assert found.id == 3
