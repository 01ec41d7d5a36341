"""How a control listens: on a Unix socket, without descriptors, and with more clients than it serves."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from relay.address import Endpoint
from relay.config import configure
from relay.control_api import ControlServer, ControlSpec, History, control_spec, open_control
from relay.control_api.connection import Connection
from relay.control_api.exchange import Answer, Request
from relay.control_api.server import _listen_at
from relay.errors import ConfigError
from relay.log import EventLog
from relay.server import open_relay
from support.bench import DEADLINE_S, in_thread, socket_pair

pytestmark = pytest.mark.anyio

_ASK = b"GET /version HTTP/1.1\r\nHost: any.test\r\nConnection: close\r\n\r\n"


@asynccontextmanager
async def serving(bind: Endpoint | Path) -> AsyncIterator[tuple[ControlServer, Callable[[], ControlServer]]]:
    """A control that serves, and what makes another at the same place."""
    log, spec = EventLog(), ControlSpec(bind=bind)
    async with (
        open_relay(configure("transparent", listen="127.0.0.1:0"), log) as relay,
        open_control(spec, relay, History(log)) as server,
    ):
        yield server, lambda: ControlServer(spec, relay, History(log))


def ask(where: str | Endpoint, request: bytes = _ASK) -> bytes:
    """The whole answer to a request; empty where the connection is closed without one."""
    family = socket.AF_UNIX if isinstance(where, str) else socket.AF_INET
    with socket.socket(family) as sock, contextlib.suppress(ConnectionResetError, BrokenPipeError):
        sock.settimeout(DEADLINE_S)
        sock.connect(where)
        sock.sendall(request)
        with sock.makefile("rb") as answer:
            return answer.read()
    return b""


def address_of(server: ControlServer) -> Endpoint:
    host, _, port = server.url.removeprefix("http://").rpartition(":")
    return Endpoint(host, int(port))


async def test_a_unix_socket_is_for_its_user_alone_needs_no_host_and_goes_with_the_relay(tmp_path: Path) -> None:
    path = tmp_path / "control"
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(path))
    left.close()  # as a relay that was killed leaves it
    before = os.umask(0)
    try:
        async with serving(path) as (server, make_another):
            assert server.url == f"unix:{path}"
            assert path.stat().st_mode & 0o777 == 0o600
            assert (await in_thread(ask, str(path))).startswith(b"HTTP/1.1 200 ")
            with pytest.raises(ConfigError, match=f"cannot listen on unix:{path}: address already in use") as raised:
                make_another()
            assert raised.value.hint == "name a path in a directory of yours, where nothing is yet"
            assert (await in_thread(ask, str(path))).startswith(b"HTTP/1.1 200 ")
    finally:
        assert os.umask(before) == 0
    assert not path.exists()


async def test_a_client_that_resets_amid_its_request_disturbs_no_other() -> None:
    async with serving(Endpoint("127.0.0.1", 0)) as (server, _):
        address, request = address_of(server), _ASK.replace(b"any.test", b"localhost")
        for said in (b"", request[:20], request):
            with socket.create_connection(address, DEADLINE_S) as client:
                client.sendall(said)
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            assert (await in_thread(ask, address, request)).startswith(b"HTTP/1.1 200 ")


async def test_beyond_the_clients_that_it_serves_each_is_closed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[socket.socket] = []
    monkeypatch.setattr("relay.control_api.server.close_in_children", kept.append)
    monkeypatch.setattr("relay.control_api.server.MAX_CLIENTS", 1)
    request = _ASK.replace(b"any.test", b"localhost")
    async with serving(Endpoint("127.0.0.1", 0)) as (server, _):
        address = address_of(server)
        with socket.create_connection(address, DEADLINE_S) as first:
            first.sendall(request.replace(b"Connection: close\r\n", b""))
            assert (await in_thread(first.recv, 15)).startswith(b"HTTP/1.1 200 ")
            assert await in_thread(ask, address, request) == b""
        with anyio.fail_after(DEADLINE_S):
            while not (await in_thread(ask, address, request)).startswith(b"HTTP/1.1 200 "):
                pass
    assert len(kept) >= 3, "a child of this process keeps none of their connections open"


async def test_a_control_that_is_closed_follows_the_log_no_more() -> None:
    log = EventLog()
    async with open_relay(configure("transparent", listen="127.0.0.1:0"), log) as relay:
        server = ControlServer(ControlSpec(bind=Endpoint("127.0.0.1", 0)), relay, History(log))
        assert log.wanted
        for _ in range(2):
            server.close()
            assert not log.wanted


async def test_the_proxies_to_begin_with_are_there_or_nothing_listens(tmp_path: Path) -> None:
    path = tmp_path / "control"
    log = EventLog()
    async with open_relay(configure("transparent", listen="127.0.0.1:0"), log) as relay:
        proxies = b'[{"name": "one", "upstream": "127.0.0.1:9"}]'
        async with open_control(ControlSpec(bind=path, proxies=proxies), relay, History(log)):
            assert list(relay.targets.values()) == [Endpoint("127.0.0.1", 9)]
        wrong = ControlSpec(bind=path, proxies=b'[{"name": "one", "upstream": "127.0.0.1:9", "listen": ":80"}]')
        with pytest.raises(ConfigError, match="is beyond loopback") as raised:
            async with open_control(wrong, relay, History(log)):
                pass
        assert str(raised.value) == "-config: listen: 0.0.0.0:80 is beyond loopback"
        assert raised.value.hint.startswith("start the relay with --allow-open")
        assert not path.exists()


def test_a_child_of_this_process_keeps_no_unix_socket_open(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    kept: list[socket.socket] = []
    monkeypatch.setattr("relay.control_api.server.close_in_children", kept.append)
    with _listen_at(tmp_path / "control") as sock:
        assert kept == [sock]


def test_where_there_are_no_unix_sockets_it_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delattr(socket, "AF_UNIX")
    with pytest.raises(ConfigError) as raised:
        _listen_at(tmp_path / "control")
    assert (str(raised.value), raised.value.hint) == ("--control: this system has no Unix sockets", "give HOST:PORT")


class Plentiful:
    """Answers each request with more than a socket takes."""

    def check(self, request: Request) -> None:
        pass

    async def answer(self, request: Request) -> Answer:
        return Answer(200, bytes(32 << 20))


async def test_a_client_that_takes_nothing_of_its_answer_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relay.control_api.connection._SEND_WITHIN_S", 0.05)
    sock, client = socket_pair()
    with client:
        client.sendall(_ASK)
        with anyio.fail_after(DEADLINE_S):
            await Connection(sock, Plentiful(), anyio.move_on_after).serve()
        assert sock.fileno() == -1


async def test_a_file_at_the_sockets_place_stays(tmp_path: Path) -> None:
    path = tmp_path / "control"
    path.write_text("someone's")
    with pytest.raises(ConfigError, match="address already in use"):
        async with serving(path):
            pass
    assert path.read_text() == "someone's"


def test_a_unix_socket_has_a_name() -> None:
    assert control_spec("unix:/run/relay.sock").bind == Path("/run/relay.sock")
    with pytest.raises(ConfigError, match="--control: 'unix:' names no socket"):
        control_spec("unix:")


class Mine(Exception):
    """What a program's own code may raise."""


@pytest.mark.parametrize(
    "error", [Mine(), ExceptionGroup("several", [Mine(), Mine()]), ExceptionGroup("one", [Mine()]), KeyboardInterrupt()]
)
async def test_what_the_block_raises_comes_out_as_it_is(error: BaseException) -> None:
    log = EventLog()
    async with open_relay(configure("transparent", listen="127.0.0.1:0"), log) as relay:
        with pytest.raises(type(error)) as raised:
            async with open_control(ControlSpec(bind=Endpoint("127.0.0.1", 0)), relay, History(log)):
                raise error
    assert raised.value is error
    assert (error.__cause__, error.__context__) == (None, None)


@pytest.mark.parametrize("mine", [None, Mine("the block")], ids=["the server alone", "both"])
async def test_what_the_server_raises_comes_out_alone_or_beside_the_blocks(
    mine: Mine | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = Mine("the server")

    async def fail(server: ControlServer) -> None:
        server.close()
        await anyio.lowlevel.checkpoint()
        raise failed

    async def serve() -> None:
        log, spec = EventLog(), ControlSpec(bind=Endpoint("127.0.0.1", 0))
        async with (
            open_relay(configure("transparent", listen="127.0.0.1:0"), log) as relay,
            open_control(spec, relay, History(log)),
        ):
            try:
                await anyio.sleep_forever()  # until the server has failed
            finally:
                if mine is not None:
                    raise mine

    monkeypatch.setattr(ControlServer, "run", fail)
    with pytest.raises(Mine if mine is None else ExceptionGroup) as raised:
        await serve()
    several = raised.value.exceptions if isinstance(raised.value, ExceptionGroup) else [raised.value]
    assert set(several) == {failed, mine} - {None}


async def test_every_address_is_named_by_one_that_leads_here() -> None:
    async with serving(Endpoint("0.0.0.0", 0)) as (server, _):
        assert server.url.startswith("http://127.0.0.1:")
    async with serving(Endpoint("::", 0)) as (server, _):
        assert server.url.startswith("http://[::1]:")
    with pytest.raises(ConfigError, match="surrogates not allowed"):
        _listen_at(Path("\ud800"))


class Failing:
    """A listening socket of which the next calls of accept fail."""

    def __init__(self, sock: socket.socket, *numbers: int) -> None:
        self._sock, self.numbers = sock, list(numbers)
        self.fileno, self.close = sock.fileno, sock.close

    def accept(self) -> tuple[socket.socket, object]:
        if self.numbers:
            raise OSError(self.numbers.pop(), "as the test has it")
        return self._sock.accept()


@pytest.mark.parametrize(("number", "rests"), [(errno.EMFILE, 3), (errno.ENOBUFS, 3), (errno.ECONNABORTED, 0)])
async def test_without_a_descriptor_it_rests_and_a_caller_that_is_gone_holds_nothing_up(
    number: int, rests: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relay.control_api.server._REST_S", 0.03)
    async with serving(Endpoint("127.0.0.1", 0)) as (server, _):
        address = address_of(server)
        await anyio.lowlevel.checkpoint()
        failing = Failing(server._sock, *[number] * 3)
        monkeypatch.setattr(server, "_sock", failing)
        began_s = time.monotonic()
        request = _ASK.replace(b"any.test", b"localhost")
        for _ in range(2):  # the first may be accepted before the socket is another
            assert (await in_thread(ask, address, request)).startswith(b"HTTP/1.1 200 ")
        assert not failing.numbers
        assert (time.monotonic() - began_s >= 0.03 * rests) or not rests
