"""Every event that the log can have, brought about: each of these functions returns records that have some of them."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import anyio
import pytest

from relay.actions import Grant, Note
from relay.behaviours import Actions, Behaviour
from relay.cli.outputs import open_outputs
from relay.config import RelayConfig, configure
from relay.control import AdjustForward, LiftFault, SetFault
from relay.events import DialSucceeded, FinReceived, Side
from relay.fault import Fault
from relay.frontends import FrontEnd
from relay.log import EventLog, Record
from relay.log.sink import LIMIT_BYTES
from relay.net.queues import unread_bytes
from relay.profiles import Profile, Quirk, load_profile
from relay.server import open_relay
from relay.testing import RunningRelay, serve_in_thread
from relay.wire.frontend import WireFrontEnd
from relay.wire.guest_network import GuestNetwork
from relay.wire.host.ping_sockets import PingAccess
from support.clients import Refused, ask, connect_by_port, crowd, socks5_request
from support.memory_driver import MemoryDriver, forward
from support.memory_link import MemoryLink
from support.origins import Origin, black_hole, echo, read_exactly, refusing_port, reset
from support.programs import serve, with_few_descriptors
from support.socks_bind import OTHER, PEER, connect_from, waiting
from support.socks_udp import Associated, udp_server


@dataclass
class Gambler(Behaviour):
    """Leaves to chance when to break."""

    draws = True

    def on_dial_succeeded(self, event: DialSucceeded) -> Actions:
        yield Note(f"drew {self.chance()}")
        raise RuntimeError("lost")


def gambling() -> Profile:
    transparent = load_profile("transparent")
    return replace(transparent, quirks=(*transparent.quirks, Quirk(Gambler, {}, "assumed", ())))


def exchange(sock: socket.socket) -> None:
    sock.sendall(b"x")
    assert read_exactly(sock, 1) == b"x"


@contextmanager
def through(nat: RunningRelay, origin: Origin) -> Iterator[socket.socket]:
    with connect_by_port(nat.address.port, "127.0.0.1", origin.port) as sock:
        exchange(sock)
        yield sock


def deaf(connection: socket.socket) -> None:
    """Take one byte and no more, then reset once no more fit: others are on their way then."""
    connection.sendall(connection.recv(1))
    before = 0
    while not (found := unread_bytes(connection)) or found > before:
        before = found or 0
        time.sleep(0.05)
    reset(connection)


def send_until_reset(sock: socket.socket) -> None:
    with suppress(ConnectionError):
        while True:
            sock.sendall(bytes(65536))


def drive_a_nat(backend: str) -> list[Record]:
    """The events of VMware's quirks, and of what clients and servers do."""
    with Origin(echo) as origin, Origin(deaf) as resetting, serve_in_thread(backend=backend) as nat:
        with socket.create_connection(("127.0.0.1", nat.address.port)) as stranger:
            stranger.sendall(b"\x00\xff" * 8)
            nat.wait_for("handshake-failed")
        with socket.create_connection(("127.0.0.1", nat.address.port)) as curious:
            curious.sendall(b"\x05\x01\x00" + socks5_request("127.0.0.1", 0, command=0xF0))
            nat.wait_for("name-resolved")
        with refusing_port() as port, pytest.raises(Refused):
            connect_by_port(nat.address.port, "127.0.0.1", port).close()
        with through(nat, origin):
            pass
        nat.wait_for("flow-ended", because="internal-peer")
        with through(nat, origin) as sock:
            reset(sock)
            nat.wait_for("rst-received", side="internal")
        with through(nat, origin) as sock:
            nat.link_down()
            nat.wait_for("flow-ended", because="link-down-reset")
        if sys.platform == "linux":
            with through(nat, resetting) as sock:
                send_until_reset(sock)
            nat.wait_for("bytes-lost")
            with through(nat, origin) as sock:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 1)
                nat.wait_for("keepalive-probe")
                sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, 0x48)
                sock.sendall(b"x")
                nat.wait_for("tos-changed")
                nat.wait_for("flow-ended", because="tos-reset")
        return nat.events


def drive_the_control(backend: str) -> list[Record]:
    """The events of a NAT that hides nothing: a server that is dead, a dial that is given up."""
    with (
        Origin(echo) as origin,
        serve_in_thread("transparent", backend=backend, local_keepalive={"server_probes": 1}) as nat,
    ):
        nat.set(local_ack={"buffer_bytes": 65536})
        nat.do(SetFault("none", Fault(side=Side.EXTERNAL)))
        nat.do(LiftFault("none"))
        nat.do(AdjustForward(nat.forward(origin.host, origin.port), ("local-ack.buffer_bytes=1024",)))
        if sys.platform == "linux":
            with black_hole() as port, socket.create_connection(("127.0.0.1", nat.address.port)) as sock:
                sock.sendall(b"\x05\x01\x00")
                assert read_exactly(sock, 2) == b"\x05\x00"
                sock.sendall(socks5_request("127.0.0.1", port))
                nat.wait_for("flow-opened")
                reset(sock)
                nat.wait_for("dial-abandoned")
            with through(nat, origin) as sock:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 1)
                nat.freeze("external")
                nat.wait_for("timed-out", timeout_s=15)
        else:
            nat.freeze("external")
        nat.thaw("external")
        nat.advance(1)
        return nat.events


def drive_past_a_syn(backend: str) -> list[Record]:
    """The events of a relay whose kernel keeps no SYN."""
    with (
        pytest.MonkeyPatch.context() as patch,
        Origin(echo) as origin,
        serve_in_thread(backend=backend) as nat,
    ):
        patch.setattr("relay.frontends.listening.save_syn", lambda _: False)
        with socket.create_connection(nat.forward(origin.host, origin.port)) as sock:
            exchange(sock)
        if sys.platform == "linux":
            nat.wait_for("syn-unknown", reference=0)
        return nat.events


def drive_a_fault(backend: str) -> list[Record]:
    with Origin(echo) as origin, serve_in_thread(gambling(), backend=backend) as nat:
        with (
            socket.create_connection(("127.0.0.1", nat.address.port)) as sock,
            pytest.raises((OSError, AssertionError)),
        ):
            ask(sock, "socks5", "127.0.0.1", origin.port)
        nat.wait_for("flow-ended")
        return nat.events


@dataclass
class Late(Behaviour):
    """Asks for what is not possible any more."""

    def on_fin_received(self, event: FinReceived) -> Actions:
        yield Grant()


def drive_a_late_action(backend: str) -> list[Record]:
    """The events of a relay whose user looks for a bug."""
    transparent = load_profile("transparent")
    profile = replace(transparent, quirks=(*transparent.quirks, Quirk(Late, {}, "assumed", ())))
    with pytest.MonkeyPatch.context() as patch, Origin(echo) as origin:
        patch.setenv("RELAY_DEBUG", "1")
        with serve_in_thread(profile, backend=backend) as nat:
            with through(nat, origin):
                pass
            nat.wait_for("action-dropped", because="late")
            return nat.events


def drive_an_end(backend: str) -> list[Record]:
    return _drained_at_once(backend, configure(listen="127.0.0.1:0"))


def drive_to_oblivion(backend: str) -> list[Record]:
    """A flow that is forgotten, but not as long as its keepalive counts."""
    probing = {"answered_by": "nat", "external_interval_s": 45}
    with (
        Origin(echo) as origin,
        serve_in_thread("transparent", backend=backend, idle_timeout={"after_s": 60}, local_keepalive=probing) as nat,
        connect_by_port(nat.address.port, origin.host, origin.port) as app,
    ):
        if sys.platform == "linux":
            app.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            app.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30)
        app.sendall(b"x")
        assert read_exactly(app, 1) == b"x"
        nat.advance(50)
        nat.advance(60, keepalive="ignore")
        nat.wait_for("forgotten", side="app")
        return list(nat.events)


def drive_beyond_limits(backend: str) -> list[Record]:
    """A dial that is under way, one that waits for its turn, and one connection too many."""
    settings = ("flow-limit.max_flows=2", "pending-limit.max_pending=1", "pending-limit.surplus=wait")
    with (
        black_hole() as port,
        serve_in_thread(load_profile("transparent", settings), backend=backend) as nat,
        crowd(nat.forward("127.0.0.1", port).port, 3),
    ):
        nat.wait_for("slot-awaited", because="pending-limit")
        nat.wait_for("slot-denied", because="flow-limit")
    return nat.events


def drive_datagrams_and_binds(backend: str, monkeypatch: pytest.MonkeyPatch) -> list[Record]:
    """A mapping, what is dropped, an association too many; binds with a wrong peer, the right one, and none."""
    with udp_server() as server, serve_in_thread("transparent", backend=backend, connect_timeout_s=1) as nat:
        with Associated(nat.address.port) as app:
            app.send_raw(b"")
            app.send(b"hello", server.address)
            server.echo()
            app.receive()
        nat.wait_for("flow-ended", because="association-ended")
        with waiting(nat) as client:
            bound = client.reply().address
            with suppress(ConnectionResetError):
                connect_from(OTHER, bound).close()
            nat.wait_for("peer-refused")
            with connect_from(PEER, bound):
                nat.wait_for("flow-ended", because="peer-connected")
        with monkeypatch.context() as crowded:
            crowded.setattr("relay.driver.doors.MAX_OF_ONE_CLIENT", 0)
            with Associated(nat.address.port), waiting(nat):
                nat.wait_for("association-refused")
                nat.wait_for("bind-failed")
    return nat.events


def drive_without_pings(backend: str) -> list[Record]:
    """The events of a relay that has a guest, on a host that lets it ask for no echo."""
    profile = load_profile("transparent")
    guest = WireFrontEnd(MemoryLink(), profile.stack.build(), GuestNetwork(), 7)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("relay.wire.frontend.find_ping_access", lambda: PingAccess.NONE)
        return _drained_at_once(backend, configure(profile, listen=None, has_guests=True), guest)


def _drained_at_once(backend: str, config: RelayConfig, *front_ends: FrontEnd) -> list[Record]:
    """What a relay records that begins to drain as soon as it serves."""
    records: list[Record] = []

    async def serve_and_drain() -> None:
        log = EventLog()
        log.subscribe(records.append)
        async with open_relay(config, log, front_ends=front_ends) as relay:
            await relay.drain(0.1)

    anyio.run(serve_and_drain, backend=backend)
    return records


def drive_a_guest_that_asks(backend: str) -> list[Record]:
    """The events of a late flow whose app asks by a keepalive probe whether the server is there."""
    nat = MemoryDriver("transparent", "slow-dial.delay_s=1", "latency.delay_s=1", "latency.direction=to-server")
    app = nat.call(forward())
    nat.advance(1.5)
    nat.answer()
    app.leg.set_keepalive(1, 1, 3)
    nat.advance(1.5)
    return nat.records


def drive_into_want(backend: str, directory: Path) -> list[dict[str, Any]]:
    """The events of a relay that has as many flows as it may, then no descriptors left, as its own file has them."""
    with serve(directory, "--backend", backend, "--max-flows", "20", prefix=with_few_descriptors(64)) as served:
        with crowd(served.port, 64):
            served.wait_for("accept-paused")
        served.wait_for("accept-resumed")
    return served.events()


def drive_a_worker_to_its_death(backend: str, directory: Path) -> list[dict[str, Any]]:
    """The events of a relay that several processes serve."""
    with serve(directory, "--backend", backend, "--workers", "2") as served:
        os.kill(served.wait_for("worker-started")["pid"], signal.SIGKILL)
        served.wait_for("worker-died")
    return served.events()


def drive_a_reader_too_hard() -> list[dict[str, Any]]:
    """What a reader finds that reads nothing until far too much was written for it."""
    log = EventLog()
    reader, writer = os.pipe()
    with open(reader) as lines, open(writer, "w"), open_outputs(log, f"/dev/fd/{writer}"):
        for _ in range(LIMIT_BYTES // 100):
            log.emit("link-down")
        log.emit("thawed", side="internal")
        told = [json.loads(lines.readline())]
        while told[-1]["event"] != "records-dropped":
            told.append(json.loads(lines.readline()))
        log.emit("thawed", side="internal")
        told.append(json.loads(lines.readline()))
    assert told[-1]["event"] == "thawed"
    assert sum(record["event"] == "link-down" for record in told) + told[-2]["records"] == LIMIT_BYTES // 100 + 1
    return told
