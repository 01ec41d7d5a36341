"""The event log: every event that can happen is driven once, and carries just the fields that are documented."""

from __future__ import annotations

import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import anyio
import pytest

from relay.actions import Grant, Note
from relay.behaviours import Actions, Behaviour
from relay.cli.outputs import open_outputs
from relay.config import configure
from relay.control import AdjustForward, LiftFault, SetFault
from relay.events import DialSucceeded, FinReceived, Side
from relay.fault import Fault
from relay.log import COMMON_FIELDS, FIELDS, Cause, EventLog, How, Record
from relay.log.reading import RecordReader
from relay.log.sink import LIMIT_BYTES
from relay.net.queues import unread_bytes
from relay.profiles import Profile, Quirk, load_profile
from relay.server import open_relay
from relay.testing import RunningRelay, serve_in_thread
from relay.wire.frontend import WireFrontEnd
from relay.wire.guest_network import GuestNetwork
from relay.wire.host.ping_sockets import PingAccess
from support import log_reference
from support.capabilities import missing
from support.clients import Refused, ask, connect_by_port, crowd, socks5_request
from support.memory_driver import MemoryDriver, forward
from support.memory_link import MemoryLink
from support.origins import Origin, black_hole, echo, read_exactly, refusing_port, reset
from support.programs import serve, with_few_descriptors
from support.socks_bind import OTHER, PEER, connect_from, waiting
from support.socks_udp import Associated, udp_server

_LINUX_ONLY = {
    *("tos-changed", "syn-unknown", "keepalive-probe", "note", "timed-out", "blackholed", "bytes-lost"),
    *("accept-paused", "accept-resumed", "dial-abandoned", "initiator-vanished"),
    *("worker-started", "worker-died", "records-dropped", "keepalive-presumed"),
}
"""What takes a provider of Linux, or a way of Linux to bring it about."""


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
    records: list[Record] = []

    async def serve_and_drain() -> None:
        log = EventLog()
        log.subscribe(records.append)
        async with open_relay(configure(listen="127.0.0.1:0"), log) as relay:
            await relay.drain(0.1)

    anyio.run(serve_and_drain, backend=backend)
    return records


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
    records: list[Record] = []

    async def serve_a_guest() -> None:
        log = EventLog()
        log.subscribe(records.append)
        profile = load_profile("transparent")
        guest = WireFrontEnd(MemoryLink(), profile.stack.build(), GuestNetwork(), 7)
        async with open_relay(configure(profile, listen=None, has_guests=True), log, front_ends=[guest]):
            pass

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("relay.wire.frontend.find_ping_access", lambda: PingAccess.NONE)
        anyio.run(serve_a_guest, backend=backend)
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


def is_worded(ended: dict[str, Any]) -> bool:
    """Whether the record of a flow's end has the documented words alone."""
    causes = {*Cause, *(quirk.name for quirk in load_profile("vmware-fusion").quirks), "fault:gambler"}
    causes |= {"idle-timeout", "flow-limit"}
    sides = [side.value for side in Side if ended[side.value] is not None]
    return (
        sides != []
        and ended["because"] in causes
        and {ended[side] for side in sides} <= set(How)
        and {ended[f"{side}_because"] for side in sides} <= causes
    )


@pytest.mark.system
def test_every_event_carries_exactly_the_documented_fields(
    backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drives = (
        *(drive_a_nat, drive_the_control, drive_past_a_syn, drive_a_fault, drive_a_late_action, drive_an_end),
        drive_to_oblivion,
        drive_beyond_limits,
        drive_without_pings,
        drive_a_guest_that_asks,
    )
    records = [record for drive in drives for record in drive(backend)]
    records += drive_datagrams_and_binds(backend, monkeypatch)
    lines: list[dict[str, Any]] = [json.loads(record.as_json(started_at=0.0)) for record in records]
    if sys.platform == "linux":
        lines += drive_into_want(backend, tmp_path)
        (tmp_path / "workers").mkdir()
        lines += drive_a_worker_to_its_death(backend, tmp_path / "workers")
        lines += drive_a_reader_too_hard()
    assert [line for line in lines if line.keys() != COMMON_FIELDS.keys() | FIELDS[line["event"]].keys()] == []
    reader = RecordReader(io.BytesIO("".join(f"{json.dumps(line)}\n" for line in lines).encode()))
    assert ([record.event for record in reader], reader.problems) == ([line["event"] for line in lines], [])
    assert {line["side"] for line in lines if "side" in line} == {side.value for side in Side}
    assert [line for line in lines if line["event"] == "flow-ended" and not is_worded(line)] == []
    unseen = FIELDS.keys() - {line["event"] for line in lines}
    if unseen and unseen <= _LINUX_ONLY:
        missing(f"this host shows everything but {', '.join(sorted(unseen))}")
    assert unseen == set()


@pytest.mark.system
def test_every_record_of_a_flow_names_the_process_of_the_app(backend: str) -> None:
    if sys.platform != "linux":
        missing("processes are found by sock_diag")
    script = (
        "import socket, sys\n"
        "s = socket.create_connection(('127.0.0.1', int(sys.argv[1])))\n"
        "s.sendall(b'x'); s.recv(1); print('ready', flush=True); sys.stdin.read()\n"
    )
    with Origin(echo) as origin, serve_in_thread(backend=backend, forwards=[f"0:{origin.target}"]) as nat:
        command = [sys.executable, "-c", script, str(nat.forward_addresses[0].port)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as app:
            assert app.stdout is not None
            assert app.stdout.readline() == b"ready\n"
            name = Path(f"/proc/{app.pid}/comm").read_text().rstrip("\n")
            nat.wait_for("flow-opened")  # it is known by then
            app.communicate(timeout=60)
        nat.wait_for("flow-ended")
        of_flow = [record for record in nat.events if record.flow == 1]
        assert {record.process for record in of_flow} == {(app.pid, name)}
        assert json.loads(of_flow[0].as_json(0.0))["process"] == {"pid": app.pid, "name": name}


@pytest.mark.system
def test_of_an_inbound_flow_the_app_is_the_process_that_was_dialled(backend: str) -> None:
    if sys.platform != "linux":
        missing("processes are found by sock_diag")
    script = (
        "import socket, sys\n"
        "l = socket.create_server(('127.0.0.1', 0)); print(l.getsockname()[1], flush=True)\n"
        "c, _ = l.accept(); c.sendall(c.recv(1)); sys.stdin.read()\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as app:
        assert app.stdout is not None
        port = int(app.stdout.readline())
        with serve_in_thread(backend=backend, inbound=[f"0:127.0.0.1:{port}"]) as nat:
            with socket.create_connection(("127.0.0.1", nat.inbound_addresses[0].port), timeout=60) as sock:
                exchange(sock)
                sock.shutdown(socket.SHUT_WR)
                process = nat.wait_for("fin-received", side="external").process
            app.communicate(timeout=60)
    assert process is not None
    assert process[0] == app.pid


def test_the_page_has_the_reference_of_the_event_log() -> None:
    assert log_reference.written() == log_reference.reference()


def test_a_field_that_is_not_documented_does_not_get_out() -> None:
    log = EventLog()
    log.subscribe(lambda record: None)
    with pytest.raises(KeyError, match="link-down has no field colour"):
        log.emit("link-down", colour="red")


def test_a_listener_that_another_one_ends_does_not_hear_the_record_that_made_it_end() -> None:
    log, heard = EventLog(), list[str]()
    log.subscribe(lambda record: end())
    end = log.subscribe(lambda record: heard.append(record.event))
    log.emit("link-down")
    end()  # again: harmless
    log.emit("link-down")
    assert (heard, log.wanted) == ([], True)


def test_a_listener_that_raises_is_dropped_and_the_others_hear() -> None:
    log = EventLog()
    told: list[Record] = []

    def broken(record: Record) -> None:
        raise OSError(28, "No space left on device")

    log.subscribe(broken)
    log.subscribe(told.append)
    log.emit("link-down")
    log.emit("initiator-vanished")
    assert [record.event for record in told] == ["link-down", "fault", "initiator-vanished"]
    assert "No space left on device" in told[1].fields["error"]
    assert "in broken" in told[1].fields["traceback"]


def test_listeners_that_fail_together_are_dropped_together() -> None:
    log = EventLog()
    told: list[str] = []
    calls: list[str] = []

    def broken(name: str) -> Callable[[Record], None]:
        def listener(record: Record) -> None:
            calls.append(name)
            raise OSError(28, "No space left on device")

        return listener

    log.subscribe(broken("first"))
    log.subscribe(broken("second"))
    log.subscribe(lambda record: told.append(record.event))
    log.emit("link-down")
    log.emit("initiator-vanished")
    assert calls == ["first", "second"]
    assert told == ["link-down", "fault", "fault", "initiator-vanished"]


def test_logs_of_one_clock_tell_comparable_times() -> None:
    first = EventLog()
    second = EventLog(first.clock)
    told: list[float] = []
    for log in (first, second):
        log.subscribe(lambda record: told.append(record.at_s))
    for log in (first, second, first):
        log.emit("link-down")
    assert second.clock == first.clock
    assert told == sorted(told)


def test_json_tells_the_time_in_utc_and_since_the_start() -> None:
    first = Record("fin-received", 1.25, 7, (42, "ssh"), {"side": "internal"}).as_json(time.time())
    second = Record("link-down", 0.0000014, None, None, {}).as_json(0.0)
    assert json.loads(first) | {"at": ""} == {
        "at": "",
        "at_s": 1.25,
        "event": "fin-received",
        "flow": 7,
        "process": {"pid": 42, "name": "ssh"},
        "carried": [0, 0],
        "side": "internal",
    }
    assert json.loads(second) == {
        "at": "1970-01-01T00:00:00.000+00:00",
        "at_s": 0.000001,
        "event": "link-down",
        "flow": None,
        "process": None,
        "carried": None,
    }
