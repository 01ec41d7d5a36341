"""Which congestion control the relay's sockets have: on loopback none that paces, elsewhere the host's."""

from __future__ import annotations

import socket
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest

from relay.address import Endpoint
from relay.events import DialFailure
from relay.net.dial import Dial
from relay.net.listen import open_listener
from relay.net.pacing import no_pacing_on_loopback
from support.bench import open_engine
from support.capabilities import missing
from support.namespaces import in_own_network

in_a_namespace = pytest.mark.system


@pytest.fixture(autouse=True)
def _linux() -> None:
    if sys.platform != "linux":
        missing("only Linux has TCP_CONGESTION")


def congestion_control(sock: socket.socket) -> str:
    return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16).rstrip(b"\0").decode()


def prefer_another() -> str:
    """Have this network namespace's sockets use something other than Reno by default, and return its name."""
    names = Path("/proc/sys/net/ipv4/tcp_available_congestion_control").read_text().split()
    other = next(name for name in names if name != "reno")
    Path("/proc/sys/net/ipv4/tcp_congestion_control").write_text(other)
    return other


@in_a_namespace
@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1"])
def test_a_socket_to_loopback_is_not_paced(host: str) -> None:
    def use() -> str:
        prefer_another()
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as sock:
            no_pacing_on_loopback(sock, Endpoint(host, 9))
            return congestion_control(sock)

    assert in_own_network(use) == "reno"


@in_a_namespace
def test_one_to_elsewhere_keeps_what_the_host_uses() -> None:
    def use() -> tuple[str, str]:
        default = prefer_another()
        with socket.socket() as sock:
            no_pacing_on_loopback(sock, Endpoint("192.0.2.1", 9))
            return congestion_control(sock), default

    found, default = in_own_network(use)
    assert found == default


@in_a_namespace
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_what_a_listener_accepts_inherits_it(host: str) -> None:
    def use() -> str:
        default = prefer_another()
        with open_listener(Endpoint(host, 0), where="--listen") as listener:
            address = listener.getsockname()[:2]
            with socket.create_connection(address, timeout=60) as client, listener.accept()[0] as accepted:
                assert congestion_control(client) == default
                return congestion_control(accepted)

    assert in_own_network(use) == "reno"


@in_a_namespace
def test_what_is_dialled_on_loopback_is_not_paced(anyio_backend_name: str) -> None:
    async def dial() -> str:
        found: list[str] = []
        done = anyio.Event()

        def connected(sock: socket.socket, _: Endpoint) -> None:
            with sock:
                found.append(congestion_control(sock))
            done.set()

        def failed(failure: DialFailure) -> None:
            found.append(str(failure))
            done.set()

        with socket.create_server(("127.0.0.1", 0)) as origin, anyio.fail_after(60):
            target = Endpoint(*origin.getsockname()[:2])
            async with open_engine() as (engine, _):
                Dial(engine, [(socket.AF_INET, target)], timeout_s=5, source=None, connected=connected, failed=failed)
                await done.wait()
        return found[0]

    def use() -> str:
        prefer_another()
        return anyio.run(dial, backend=anyio_backend_name)

    assert in_own_network(use) == "reno"


class Noting(socket.socket):
    """A socket that notes which options it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.options: list[tuple[object, ...]] = []

    def setsockopt(self, *option: Any) -> None:
        self.options.append(option)


@pytest.mark.parametrize(("host", "is_changed"), [("127.9.9.9", True), ("::1", True), ("192.0.2.1", False)])
@pytest.mark.parametrize("can_choose", [True, False])
def test_only_a_socket_to_loopback_is_changed_and_only_where_the_host_lets_it_choose(
    host: str, is_changed: bool, can_choose: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not can_choose:
        monkeypatch.setattr("relay.net.pacing._CONGESTION", None)
    reno = (socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"reno")
    with Noting() as sock:
        no_pacing_on_loopback(sock, Endpoint(host, 9))
        assert sock.options == [reno] * (is_changed and can_choose)
