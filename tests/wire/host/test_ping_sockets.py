"""The host's ping sockets: who may have which, and that only the host that was asked answers."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
import pytest

from relay.wire.host.ping_sockets import PingAccess, PingSockets, find_ping_access
from relay.wire.icmp import IDLE_S, IcmpNat
from relay.wire.mappings import End
from relay.wire.packet import ICMP, Icmp, build_icmp, undotted
from support.bench import DEADLINE_S, advance, open_engine
from support.host_tap import SeenByTap
from support.namespaces import in_own_network
from support.programs import as_ordinary_user, clean_environment, run
from support.small_nat import ADDRESSES, Guest, Outside, message

pytestmark = pytest.mark.system

HERE, NOWHERE = "192.0.2.7", "192.0.2.8"
_ALLOWED = Path("/proc/sys/net/ipv4/ping_group_range")


class Pinging:
    """A guest, and the sockets behind its echo requests."""

    def __init__(self, sockets: PingSockets, guest: Guest, tap: SeenByTap) -> None:
        self.sockets = sockets
        self.guest = guest
        self.tap = tap
        self.came = anyio.Event()
        guest.changed = self._on_changed

    def _on_changed(self) -> None:
        self.came.set()

    def ask(self, host: str, payload: bytes = b"", *, ident: int = 7, sequence: int = 1, ttl: int = 64) -> None:
        self.sockets.on_message(*message(undotted(host), payload, ident=ident, sequence=sequence, ttl=ttl))

    async def hear(self, count: int = 1) -> list[tuple[str, Icmp]]:
        """All that was answered, once it is so much."""
        with anyio.fail_after(DEADLINE_S):
            while len(self.guest.received) < count:
                await self.came.wait()
                self.came = anyio.Event()
        return [(source, icmp) for source, icmp in self.guest.received if isinstance(icmp, Icmp)]


Scene = Callable[[Pinging], Awaitable[None]]


@pytest.fixture(params=[PingAccess.PING, PingAccess.RAW], ids=lambda access: access.name)
def access(request: pytest.FixtureRequest) -> PingAccess:
    wanted: PingAccess = request.param
    return wanted


def play(backend: str, access: PingAccess, scene: Scene, *, host: bool = True) -> None:
    """Play a scene on a network that has one other address, and where both kinds of sockets can be opened."""

    async def main() -> None:
        async with open_engine() as (engine, faults):
            guest, tap = Guest(), SeenByTap()
            sockets = PingSockets(engine, IcmpNat(code="zero"), Outside(host=host), guest.send, access, tap.view)
            await scene(Pinging(sockets, guest, tap))
            sockets.close()
            sockets.close()
        assert faults == []

    def in_network() -> None:
        _ALLOWED.write_text("0 0")
        run("ip", "address", "add", HERE, "dev", "lo")
        anyio.run(main, backend=backend)

    in_own_network(in_network)


def test_the_host_that_is_asked_answers(backend: str, access: PingAccess) -> None:
    async def scene(pinging: Pinging) -> None:
        pinging.ask(HERE, b"data", sequence=3)
        assert await pinging.hear() == [(HERE, Icmp(0, 0, 7, 3, memoryview(b"data")))]

    play(backend, access, scene)


def test_a_tap_is_shown_the_request_and_its_answer_as_the_host_had_them(backend: str, access: PingAccess) -> None:
    async def scene(pinging: Pinging) -> None:
        pinging.ask(HERE, b"data")
        await pinging.hear()
        end = End(ADDRESSES.guest, 7)
        assert pinging.tap.owned == [(ICMP, end)]
        assert [(of, way, message[0], message[8:]) for _, of, way, message in pinging.tap.datagrams] == [
            (end, ">", 8, b"data"),
            (end, "<", 0, b"data"),
        ]
        assert {(near.host, far.host) for near, far in pinging.tap.ends} == {(HERE, HERE)}

    play(backend, access, scene)


def test_identifiers_are_the_guest_s_own_also_where_two_programs_ask(backend: str, access: PingAccess) -> None:
    async def scene(pinging: Pinging) -> None:
        for ident in (7, 8, 7):
            pinging.ask(HERE, bytes([ident]), ident=ident)
        heard = await pinging.hear(3)
        assert sorted((icmp.ident, bytes(icmp.payload)) for _, icmp in heard) == [(7, b"\7"), (7, b"\7"), (8, b"\x08")]

    play(backend, access, scene)


def test_the_host_itself_answers_by_its_own_address_if_it_is_not_turned_off(backend: str, access: PingAccess) -> None:
    async def scene(pinging: Pinging) -> None:
        pinging.ask("192.168.27.1", b"data")
        assert await pinging.hear() == [("192.168.27.1", Icmp(0, 0, 7, 1, memoryview(b"data")))]

    play(backend, access, scene)


def test_a_host_that_is_turned_off_does_not_answer_either(backend: str, access: PingAccess) -> None:
    async def scene(pinging: Pinging) -> None:
        pinging.ask("192.168.27.1")
        pinging.ask(HERE, b"behind")
        assert await pinging.hear() == [(HERE, Icmp(0, 0, 7, 1, memoryview(b"behind")))]

    play(backend, access, scene, host=False)


def test_what_is_no_reply_is_none(backend: str, access: PingAccess) -> None:
    """On systems where no filter of the kernel's keeps it away."""

    async def scene(pinging: Pinging) -> None:
        pinging.ask(HERE)
        await pinging.hear()
        (ident,) = pinging.sockets._ends
        for data in (
            b"",
            b"\0",
            b"\x45" + bytes(19),
            build_icmp(8, 0, ident, 1, b""),
            build_icmp(0, 0, ident + 1, 1, b""),
        ):
            pinging.sockets._on_message(memoryview(data), (HERE, 0))
        assert len(pinging.guest.received) == 1

    play(backend, access, scene)


def test_nothing_is_made_up_for_a_host_that_does_not_answer(backend: str, access: PingAccess) -> None:
    async def scene(pinging: Pinging) -> None:
        pinging.ask(NOWHERE)
        pinging.ask(HERE, b"behind")
        assert await pinging.hear() == [(HERE, Icmp(0, 0, 7, 1, memoryview(b"behind")))]
        assert dict(pinging.sockets.dropped) == {"network is unreachable": 1}

    play(backend, access, scene)


def test_other_messages_go_nowhere(backend: str, access: PingAccess) -> None:
    async def scene(pinging: Pinging) -> None:
        pinging.sockets.on_message(*message(undotted(HERE), kind=13))
        pinging.ask(HERE, ttl=1)
        pinging.ask(HERE, b"behind")
        assert len(await pinging.hear()) == 1

    play(backend, access, scene)


def test_an_identifier_ends_with_its_mapping_and_may_begin_again(backend: str, access: PingAccess) -> None:
    async def scene(pinging: Pinging) -> None:
        for count in range(1, 4):
            pinging.ask(HERE)
            await pinging.hear(count)
            advance(pinging.sockets._engine, 2 * IDLE_S)
            assert not pinging.sockets._asking
            assert not pinging.sockets._ends

    play(backend, access, scene)


def test_where_there_is_no_socket_nothing_is_answered_and_it_is_counted(backend: str) -> None:
    async def scene(pinging: Pinging) -> None:
        pinging.ask(HERE)
        assert dict(pinging.sockets.dropped) == {"no ping socket": 1}

    play(backend, PingAccess.NONE, scene)


def test_the_ttl_goes_on_less_one(access: PingAccess) -> None:
    """As from a router; the socket's own setting is what the kernel sends with."""

    async def scene(pinging: Pinging) -> None:
        pinging.ask(HERE, ttl=9)
        await pinging.hear()
        (asking,) = pinging.sockets._asking.values()
        assert asking.sock.sock.getsockopt(socket.IPPROTO_IP, socket.IP_TTL) == 8

    play("asyncio", access, scene)


@pytest.mark.parametrize(
    ("allowed", "as_root", "found"),
    [("0 65534", True, "PING"), ("0 65534", False, "PING"), ("1 0", True, "RAW"), ("1 0", False, "NONE")],
)
def test_a_ping_socket_comes_first_then_a_raw_one(allowed: str, as_root: bool, found: str) -> None:
    command = (sys.executable, "-c", "from relay.wire.host.ping_sockets import *; print(find_ping_access().name)")

    def in_network() -> str:
        _ALLOWED.write_text(allowed)
        done = run(*(() if as_root else as_ordinary_user()), *command, env=clean_environment(), cwd=Path("/"))
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout.strip()

    assert in_own_network(in_network) == found


def test_only_where_there_is_none_is_there_a_remedy() -> None:
    assert PingAccess.PING.remedy == PingAccess.RAW.remedy == ""
    assert "ping_group_range" in PingAccess.NONE.remedy or os.name != "posix"
    assert find_ping_access() in PingAccess
