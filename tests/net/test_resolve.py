"""The resolver's threads: how many look-ups run at once, and what they do not hold up."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator

import anyio
import pytest

from relay.address import Endpoint
from relay.net import resolve
from relay.net.resolve import MAX_OF_ONE_CLIENT, Resolver, address_of, addresses_of, names_of
from support.bench import DEADLINE_S

pytestmark = pytest.mark.anyio

_CLIENTS = 5


class SilentHost:
    """A host whose resolver answers nothing until it is released."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.released = threading.Event()

    def addresses_of(self, host: str, flags: int = 0) -> list[str]:
        self.asked.append(host)
        if host.startswith("silent"):
            assert self.released.wait(DEADLINE_S)
        return ["192.0.2.1"]


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Iterator[SilentHost]:
    silent = SilentHost()
    monkeypatch.setattr(resolve, "addresses_of", silent.addresses_of)
    yield silent
    silent.released.set()


async def until(condition: Callable[[], bool]) -> None:
    with anyio.fail_after(DEADLINE_S):
        while not condition():  # noqa: ASYNC110 - a thread makes it true
            await anyio.sleep(0.01)


async def test_a_client_has_128_look_ups_at_once_and_all_clients_have_512(host: SilentHost) -> None:
    resolver, found = Resolver(), list[str]()

    async def look_up(name: str, client: str) -> None:
        ((_, target),) = await resolver.look_up(Endpoint(name, 80), client)
        found.append(target.host)

    async with anyio.create_task_group() as tasks:
        for number in range(MAX_OF_ONE_CLIENT + 10):
            tasks.start_soon(look_up, f"silent-0-{number}", "client 0")
        await until(lambda: len(host.asked) == MAX_OF_ONE_CLIENT)
        for client in range(1, _CLIENTS):
            for number in range(MAX_OF_ONE_CLIENT):
                tasks.start_soon(look_up, f"silent-{client}-{number}", f"client {client}")
        await until(lambda: len(host.asked) >= 512)
        tasks.start_soon(look_up, "quick", "client 5")
        await anyio.sleep(0.05)
        assert len(host.asked) == 512
        with anyio.fail_after(DEADLINE_S):
            await look_up("localhost", "client 0")  # the hosts file has it
        assert len(host.asked) == 513
        host.released.set()
    assert len(found) == _CLIENTS * MAX_OF_ONE_CLIENT + 12
    assert len(host.asked) == len(set(host.asked)) == len(found)


async def test_a_call_that_is_cancelled_before_its_turn_asks_nothing(host: SilentHost) -> None:
    resolver = Resolver()
    async with anyio.create_task_group() as tasks:
        for number in range(MAX_OF_ONE_CLIENT):
            tasks.start_soon(resolver.look_up, Endpoint(f"silent{number}", 80), "client")
        await until(lambda: len(host.asked) == MAX_OF_ONE_CLIENT)
        with anyio.move_on_after(0.02):
            await resolver.look_up(Endpoint("silent-late", 80), "client")
        host.released.set()
    assert "silent-late" not in host.asked
    with anyio.fail_after(DEADLINE_S):
        assert await resolver.look_up(Endpoint("next", 80), "client")


async def test_a_call_that_is_cancelled_while_others_have_every_turn_gives_that_of_its_client_back(
    host: SilentHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relay.net.resolve._MAX_OF_ALL", 1)
    resolver = Resolver()
    turns = resolver._limit_of("client")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(resolver.look_up, Endpoint("silent", 80), "other")
        await until(lambda: host.asked == ["silent"])
        with anyio.move_on_after(0.02):
            await resolver.look_up(Endpoint("late", 80), "client")
        assert turns.borrowed_tokens == 0
        host.released.set()
    assert host.asked == ["silent"]


async def test_a_name_that_is_asked_for_twice_is_looked_up_once(host: SilentHost) -> None:
    resolver = Resolver()
    async with anyio.create_task_group() as tasks:
        for client in ("one", "other"):
            tasks.start_soon(resolver.look_up, Endpoint("Silent", 80), client)
        await until(lambda: bool(host.asked))
        threads = [each for each in threading.enumerate() if each.name == "look up silent"]
        assert {each.daemon for each in threads} == {True}, "the end of the process waits for none"
        await anyio.sleep(0.02)
        host.released.set()
    assert host.asked == ["silent"]
    assert resolver._of_all.borrowed_tokens == 0
    await resolver.look_up(Endpoint("silent", 80), "one")
    assert host.asked == ["silent"] * 2, "an answer is not kept"


async def test_without_a_thread_a_name_has_no_address(host: SilentHost, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_thread(*_: object, **__: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", no_thread)
    resolver = Resolver()
    with anyio.fail_after(DEADLINE_S):
        assert await resolver.look_up(Endpoint("quick", 80), "client") == []
    assert not host.asked


@pytest.mark.parametrize(
    ("name", "names"), [("a.test", ["a.test"]), ("b" * 255, ["b" * 255]), ("b" * 256, []), ("caf\xe9.test", [])]
)
def test_a_name_that_socks5_has_no_room_for_is_no_answer(
    name: str, names: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "getnameinfo", lambda address, flags: (name, "0"))
    assert names_of("192.0.2.1") == names


def test_an_address_is_found_once_and_dialled_by_its_family() -> None:
    assert [addresses_of("127.1"), addresses_of("::1", socket.AI_NUMERICHOST)] == [["127.0.0.1"], ["::1"]]
    assert address_of("127.0.0.1", 9) == (socket.AF_INET, ("127.0.0.1", 9))
    assert address_of("::1", 9) == (socket.AF_INET6, ("::1", 9))
    with pytest.raises(OSError, match="not known"):
        addresses_of("a.test", socket.AI_NUMERICHOST)
