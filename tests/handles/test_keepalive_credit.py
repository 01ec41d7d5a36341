"""An advance leaves kernels no time for keepalive probes: those that are known to be due count all the same."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import pytest

from relay import open_relay
from relay.errors import ConfigError
from relay.log import Record
from relay.testing import RunningRelay, serve_in_thread
from support.origins import Origin, echo, read_exactly

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells of a peer's socket")

_LIMIT_S = 350
_APP = """
import socket, sys
sock = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
if sys.argv[2] != "0":
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, int(sys.argv[2]))
sock.sendall(b"x")
assert sock.recv(1) == b"x"
print("connected", flush=True)
sys.stdin.read()
"""


def set_keepalive(sock: socket.socket, idle_s: int, interval_s: int = 5) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, idle_s)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, interval_s)


def exchange(sock: socket.socket) -> None:
    sock.sendall(b"x")
    assert read_exactly(sock, 1) == b"x"


@contextmanager
def connected(nat: RunningRelay, *, keepalive_s: int = 0) -> Iterator[socket.socket]:
    """A pool's connection that has been used once."""
    with Origin(echo) as origin, socket.create_connection(nat.forward(origin.host, origin.port), timeout=20) as sock:
        if keepalive_s:
            set_keepalive(sock, keepalive_s)
        exchange(sock)
        yield sock


def presumed(records: list[Record]) -> list[tuple[str, int, float]]:
    return [
        (record.fields["side"], record.fields["probes"], record.fields["every_s"])
        for record in records
        if record.event == "keepalive-presumed"
    ]


def over(records: list[Record]) -> bool:
    return any(record.event == "flow-ended" for record in records)


@pytest.mark.parametrize(("keepalive_s", "lives"), [(0, False), (60, True), (349, True), (351, False), (7200, False)])
def test_a_pool_behind_aws_lives_by_keepalive_below_its_limit(backend: str, keepalive_s: int, lives: bool) -> None:
    with (
        serve_in_thread("aws-nat-gateway", backend=backend) as nat,
        connected(nat, keepalive_s=keepalive_s) as sock,
    ):
        caused = nat.advance(_LIMIT_S)
        assert over(caused) is not lives
        if lives:
            ((side, probes, every_s),) = presumed(caused)
            assert (side, probes, every_s) == ("internal", _LIMIT_S // keepalive_s, keepalive_s)
            exchange(sock)
        else:
            sock.sendall(b"x")
            with pytest.raises(ConnectionResetError):
                sock.recv(1)


@pytest.mark.parametrize("keepalive", ["credit", "ignore"])
def test_it_can_be_turned_off(backend: str, keepalive: Literal["credit", "ignore"]) -> None:
    with serve_in_thread("aws-nat-gateway", backend=backend) as nat, connected(nat, keepalive_s=60):
        caused = nat.expire(keepalive=keepalive)
        assert over(caused) is (keepalive == "ignore")
        assert bool(presumed(caused)) is (keepalive == "credit")


@pytest.mark.anyio
async def test_another_word_for_it_is_found_at_the_call() -> None:
    async with open_relay("transparent") as nat:
        with pytest.raises(ConfigError, match="advance: keepalive: 'off' is not known") as caught:
            await nat.advance(1, keepalive="off")  # type: ignore[arg-type]
        assert caught.value.hint == "give 'credit' or 'ignore'"


def test_probes_do_not_count_where_data_alone_do(backend: str) -> None:
    limit = {"after_s": _LIMIT_S, "counts": "data"}
    with serve_in_thread("transparent", backend=backend, idle_timeout=limit) as nat, connected(nat, keepalive_s=60):
        caused = nat.advance(_LIMIT_S)
        assert over(caused)
        assert presumed(caused) == []


@pytest.mark.parametrize("clock", ["running", "manual"])
@pytest.mark.parametrize("step_s", [30, 100])
def test_small_steps_are_as_good_as_a_large_one(backend: str, step_s: float, clock: str) -> None:
    """The kernel's timer does not age from one to the next."""
    with (
        serve_in_thread("aws-nat-gateway", backend=backend, clock=clock) as nat,
        connected(nat, keepalive_s=90) as sock,
    ):
        probes = 0
        for _ in range(round(900 / step_s)):
            caused = nat.advance(step_s)
            assert not over(caused)
            probes += sum(count for _, count, _ in presumed(caused))
        assert probes in {9, 10}
        exchange(sock)
        assert presumed(nat.advance(80)) == [], "after traffic the time begins anew"


def test_a_flow_that_is_left_alone_by_its_probes_ends_after_the_last(backend: str) -> None:
    with serve_in_thread("aws-nat-gateway", backend=backend) as nat, connected(nat, keepalive_s=200) as sock:
        assert not over(nat.advance(_LIMIT_S))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 0)
        began_s = nat.events[-1].at_s
        (ended,) = [record for record in nat.advance(_LIMIT_S) if record.event == "flow-ended"]
        assert ended.at_s - began_s == pytest.approx(200, abs=1), "150 s after the last probe it was 350 s idle"


def test_a_servers_probes_count_as_well_unless_the_apps_alone_do(backend: str) -> None:
    for refreshed_by, lives in (("either", True), ("external", True), ("internal", False)):

        def probing(connection: socket.socket) -> None:
            set_keepalive(connection, 60)
            echo(connection)

        limit = {"after_s": _LIMIT_S, "refreshed_by": refreshed_by}
        with (
            Origin(probing) as origin,
            serve_in_thread("transparent", backend=backend, idle_timeout=limit) as nat,
            socket.create_connection(nat.forward(origin.host, origin.port), timeout=20) as sock,
        ):
            exchange(sock)
            caused = nat.advance(_LIMIT_S)
            assert over(caused) is not lives
            assert presumed(caused) == [("external", 5, 60)]


@pytest.mark.system
@pytest.mark.parametrize(("keepalive_s", "lives"), [(0, False), (60, True), (400, False)])
def test_of_another_programs_socket_the_timer_is_known(backend: str, keepalive_s: int, lives: bool) -> None:
    with Origin(echo) as origin, serve_in_thread("aws-nat-gateway", backend=backend) as nat:
        command = [sys.executable, "-c", _APP, str(nat.forward(origin.host, origin.port).port), str(keepalive_s)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as app:
            assert app.stdin is not None
            assert app.stdout is not None
            assert app.stdout.readline() == "connected\n"
            caused = nat.advance(_LIMIT_S)
            assert over(caused) is not lives
            if lives:
                assert presumed(caused) == [("internal", 5, 60)]
                (record,) = [record for record in caused if record.event == "keepalive-presumed"]
                assert record.fields["known_by"] == "its kernel's timer, approximate"
            app.stdin.close()


# What it says of the rest


def test_an_app_that_cannot_be_looked_at_is_mentioned_when_its_flow_counts_as_idle(
    backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relay.observe.kernel.peer_socket.PeerSockets.look", lambda peers, ends: None)
    with serve_in_thread("aws-nat-gateway", backend=backend) as nat, connected(nat, keepalive_s=60):
        assert [record.event for record in nat.advance(100)] == ["time-advanced"]
        first, *_ = nat.advance(_LIMIT_S)
        assert first.event == "not-advanced"
        assert first.fields["what"] == "probes that the app's socket may send; this host cannot look at it"


def test_the_nats_own_probes_are_mentioned_once_they_would_be_due(backend: str) -> None:
    with serve_in_thread("parallels", backend=backend) as nat, connected(nat):
        assert [record.event for record in nat.advance(74)] == ["time-advanced"]
        stays, *_ = nat.advance(75)
        assert (stays.event, stays.flow) == ("not-advanced", 1)
        assert stays.fields["what"].startswith("the NAT's keepalive probes to the server, due after 75 s of silence")
