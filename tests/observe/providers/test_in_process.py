"""The in-process provider: sockets of this process, marked through asyncio, trio, ssl and by hand."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys

import pytest
import trio

from relay.address import Endpoint
from relay.errors import Unsupported
from relay.observe.providers.in_process import watching
from relay.testing import serve_in_thread
from support.clients import connect
from support.origins import Origin, echo
from support.programs import run

AF21 = 0x48
LOW_DELAY = 0x10


@pytest.mark.parametrize("front_end", ["forward", "socks5"])
@pytest.mark.parametrize(
    ("syn", "later", "lives"),
    [(None, LOW_DELAY, True), (None, AF21, False), (AF21, AF21, True), (AF21, 0x50, True), (AF21, LOW_DELAY, False)],
)
def test_the_rule_holds_for_a_socket_of_this_process(
    backend: str, front_end: str, syn: int | None, later: int, lives: bool
) -> None:
    with (
        watching(),
        Origin(echo) as origin,
        serve_in_thread(backend=backend, observer="in-process") as nat,
        connect(nat, front_end, origin.host, origin.port, tos=syn) as client,
    ):
        client.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, later)
        with contextlib.nullcontext() if lives else pytest.raises(ConnectionResetError):
            client.sendall(b"hello")
            assert client.recv(100) == b"hello"


def test_asyncio_marks_through_its_transport(backend: str) -> None:
    async def mark(address: Endpoint) -> None:
        reader, writer = await asyncio.open_connection(*address)
        try:
            writer.get_extra_info("socket").setsockopt(socket.IPPROTO_IP, socket.IP_TOS, AF21)
            writer.write(b"hello")
            with pytest.raises(ConnectionResetError):
                await reader.readexactly(5)
        finally:
            writer.close()

    with watching(), Origin(echo) as origin, serve_in_thread(backend=backend, observer="in-process") as nat:
        asyncio.run(mark(nat.forward(origin.host, origin.port)))


def test_trio_marks_through_its_own_sockets(backend: str) -> None:
    async def mark(address: Endpoint) -> None:
        async with await trio.open_tcp_stream(*address) as stream:
            stream.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, AF21)
            await stream.send_all(b"hello")
            with pytest.raises(trio.BrokenResourceError):
                await stream.receive_some()

    with watching(), Origin(echo) as origin, serve_in_thread(backend=backend, observer="in-process") as nat:
        trio.run(mark, nat.forward(origin.host, origin.port))


def test_it_is_off_outside_the_block() -> None:
    assert "setsockopt" not in vars(socket.socket)
    with watching(), watching():
        assert "setsockopt" in vars(socket.socket)
    assert "setsockopt" not in vars(socket.socket)
    with pytest.raises(Unsupported, match="not watched"), serve_in_thread(observer="in-process"):
        pass


def test_a_program_may_put_a_class_of_its_own_in_the_place_of_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    class Own(socket.socket):
        pass

    before = socket.socket
    with watching():
        monkeypatch.setattr(socket, "socket", Own)
        with Own() as sock:
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, AF21)
            assert sock.getsockopt(socket.IPPROTO_IP, socket.IP_TOS) == AF21
    assert "setsockopt" not in vars(before)


def test_other_options_and_errors_pass_through() -> None:
    with watching(), socket.socket() as sock, socket.socket(type=socket.SOCK_DGRAM) as datagrams:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        datagrams.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, AF21)
        assert datagrams.getsockopt(socket.IPPROTO_IP, socket.IP_TOS) == AF21
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, bytes([AF21]))
        assert sock.getsockopt(socket.IPPROTO_IP, socket.IP_TOS) == AF21
        with pytest.raises(TypeError):
            sock.setsockopt(socket.SOL_SOCKET)  # type: ignore[call-overload]


_WITHOUT_LINUX = """
import socket, select, sys
for name in ("AF_NETLINK", "AF_PACKET"):
    delattr(socket, name)
del select.epoll
sys.platform = "darwin"
from relay.observe.providers.in_process import watching
from relay.testing import serve_in_thread
with watching(), serve_in_thread() as nat, socket.create_server(("127.0.0.1", 0)) as server:
    with socket.create_connection(nat.forward(*server.getsockname())) as client:
        client.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, 0x48)
        client.sendall(b"hello")
        try:
            client.recv(1)
        except ConnectionResetError:
            print("reset, as seen by", nat.wait_for("rst-sent").fields["because"])
"""


@pytest.mark.system
def test_it_is_chosen_where_the_kernel_cannot_tell() -> None:
    done = run(sys.executable, "-P", "-c", _WITHOUT_LINUX)
    assert done.stdout == "reset, as seen by tos-reset\n", done.stderr
