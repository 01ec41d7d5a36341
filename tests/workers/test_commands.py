"""Commands reach every worker, those that start later as well, and are carried out by all of them or refused."""

from __future__ import annotations

import os
import resource
import select
import signal
import socket
import struct
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal

from relay.address import Endpoint, ForwardSpec, ResolveOverride
from relay.config import configure
from relay.control import (
    Adjust,
    AdjustForward,
    Advance,
    Command,
    Drain,
    Freeze,
    LiftFault,
    LinkDown,
    OpenForward,
    ResolveAs,
    ResultT_co,
    SetFault,
    SetSeed,
    SetTimeScale,
    Thaw,
)
from relay.errors import ConfigError, RelayBug, Unsettled
from relay.events import Side
from relay.fault import Fault
from relay.log import EventLog
from relay.log.memory import Records
from relay.shape import Shape
from relay.workers import Workers, open_workers
from support.clients import connect_by_port
from support.origins import Origin, echo, read_exactly
from support.socks_udp import Associated, udp_server
from support.workers import call_both_workers

pytestmark = pytest.mark.system

BACKENDS = ("asyncio", "trio")
SILENT_S = 0.2
ENOUGH_FOR_BOTH = 32  # connections: that one of two workers has none of them happens once in 2**31
KEEP_ON_LINK_DOWN = Adjust(("link-down-reset.enabled=false",))


class Commanded:
    """Two workers whose parent runs in a thread of the test's process."""

    def __init__(self, portal: BlockingPortal, workers: Workers, records: Records) -> None:
        self._portal = portal
        self.workers = workers
        self._records = records

    @property
    def port(self) -> int:
        assert self.workers.address is not None
        return self.workers.address.port

    @property
    def flows(self) -> list[int]:
        """The numbers of all flows so far."""
        return [flow.number for flow in self._records.flows()]

    @property
    def events(self) -> list[str]:
        """The names of all events so far."""
        return [record.event for record in self._records.snapshot()]

    def do(self, command: Command[ResultT_co]) -> ResultT_co:
        return self._portal.call(self.workers.do, command)

    def wait_for(self, event: str, **fields: Any) -> dict[str, Any]:
        record = self._records.wait_for(event, fields, timeout_s=20)
        return {**record.fields, "flow": record.flow}

    def seconds_of(self, event: str, flow: int) -> float:
        """When this happened, on the NAT's clock."""
        return self._records.wait_for(event, {}, flow=flow, timeout_s=20).at_s

    def kill_a_worker(self) -> None:
        """Kill the first worker; when this returns, another is starting in its place."""
        pid = self.wait_for("worker-started", worker=1)["pid"]
        os.kill(pid, signal.SIGKILL)
        self.wait_for("worker-died", pid=pid)

    def wait_for_the_replacement(self) -> None:
        while self.events.count("worker-started") < 3:
            self.do(SetSeed(1))  # which waits for the worker


@contextmanager
def open_commanded(backend: str) -> Iterator[Commanded]:
    log, records = EventLog(), Records()
    log.subscribe(records)
    config = configure("vmware-fusion", listen="127.0.0.1:0")
    with (
        start_blocking_portal(backend) as portal,
        portal.wrap_async_context_manager(open_workers(config, log, count=2, backend=backend)) as workers,
    ):
        yield Commanded(portal, workers, records)


@pytest.fixture(scope="module", params=BACKENDS)
def shared(request: pytest.FixtureRequest) -> Iterator[Commanded]:
    """Workers for tests that leave them as they are, apart from settings."""
    with open_commanded(request.param) as served:
        yield served


@pytest.fixture
def served(backend: str) -> Iterator[Commanded]:
    with open_commanded(backend) as served:
        yield served


@contextmanager
def two_calls(served: Commanded, origin: Origin) -> Iterator[list[socket.socket]]:
    """A connection on each worker."""
    with call_both_workers(served, origin.port) as calls:
        yield [each.sock for each in calls.values()]


def test_a_frozen_side_stalls_on_every_worker_until_it_is_thawed(shared: Commanded) -> None:
    with Origin(echo) as origin, two_calls(shared, origin) as socks:
        shared.do(Freeze(Side.EXTERNAL))
        for sock in socks:
            sock.sendall(b"hello")
            sock.settimeout(SILENT_S)
            with pytest.raises(TimeoutError):
                sock.recv(1)
        shared.do(Thaw(Side.EXTERNAL))
        for sock in socks:
            sock.settimeout(20)
            assert read_exactly(sock, 5) == b"hello"
    shared.wait_for("thawed")
    assert [event for event in shared.events if event in {"frozen", "thawed"}] == ["frozen", "thawed"]


def test_settings_hold_for_new_flows_of_each_worker_and_not_for_old_ones(shared: Commanded) -> None:
    with Origin(echo) as origin, two_calls(shared, origin) as old:
        shared.do(KEEP_ON_LINK_DOWN)
        with call_both_workers(shared, origin.port) as new:
            shared.do(LinkDown())
            for sock in old:
                with pytest.raises(ConnectionResetError):
                    sock.recv(1)
            for each in new.values():
                each.exchange()
    shared.wait_for("link-down")
    assert (shared.events.count("settings-changed"), shared.events.count("link-down")) == (1, 1)


def test_a_fault_that_all_workers_have_is_on_record_once(shared: Commanded) -> None:
    shared.do(SetFault("slow", Fault(side=Side.INTERNAL, shape=Shape(delay_s=0.1))))
    assert (shared.do(LiftFault("slow")), shared.do(LiftFault("slow"))) == (True, False)
    shared.wait_for("fault-lifted")
    assert (shared.events.count("fault-set"), shared.events.count("fault-lifted")) == (1, 1)


def test_the_clock_of_every_worker_and_of_the_log_moves_on(shared: Commanded) -> None:
    shared.do(Advance(300.0))
    with Origin(echo) as origin, call_both_workers(shared, origin.port) as calls:
        assert {shared.seconds_of("flow-opened", each.flow) // 300 for each in calls.values()} == {1}
    assert shared.events.count("time-advanced") == 1


def test_an_advance_gives_what_it_caused_on_all_workers_in_order(shared: Commanded) -> None:
    shared.do(Adjust(("idle-timeout.after_s=300",)))
    with Origin(echo) as origin, call_both_workers(shared, origin.port) as calls:
        caused = shared.do(Advance(400.0))
        assert [record.at_s for record in caused] == sorted(record.at_s for record in caused)
        ended = {record.flow for record in caused if record.event == "flow-ended"}
        assert ended >= {each.flow for each in calls.values()}
        assert [record.event for record in caused].count("time-advanced") == 1
        assert (caused[-1].event, caused[-1].fields) == ("time-advanced", {"by_s": 400.0})


def advance_until_full(served: Commanded) -> None:
    while True:
        served.do(Advance(0.0))


def test_no_workers_clock_is_moved_on_unless_all_of_them_rest(shared: Commanded) -> None:
    with Origin(lambda connection: connection.sendall(bytes(64 << 20))) as origin:
        with connect_by_port(shared.port, "127.0.0.1", origin.port) as sock:
            shared.wait_for("flow-connected", address=origin.target)
            with pytest.raises(Unsettled, match=r"advance: flow #\d+ \(.* does not settle .* wait for the app to read"):
                advance_until_full(shared)
            told = shared.events.count("time-advanced")
            with pytest.raises(Unsettled):
                shared.do(Advance(1e6))
            assert shared.events.count("time-advanced") == told
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        shared.do(Advance(1.0))
    with Origin(echo) as origin, call_both_workers(shared, origin.port) as calls:
        assert all(shared.seconds_of("flow-opened", each.flow) < 1e6 for each in calls.values())


@pytest.mark.parametrize("initiator", Side)
def test_a_forward_that_is_opened_later_is_served_by_every_worker(shared: Commanded, initiator: Side) -> None:
    with Origin(echo) as origin:
        spec = ForwardSpec(Endpoint("127.0.0.1", 0), Endpoint(origin.host, origin.port))
        forward = shared.do(OpenForward(spec, initiator))
        listed = shared.workers.forward_addresses if initiator is Side.INTERNAL else shared.workers.inbound_addresses
        assert listed == [forward]
        workers = set()
        for _ in range(64):
            with socket.create_connection(forward, timeout=20) as sock:
                sock.sendall(b"x")
                assert read_exactly(sock, 1) == b"x"
                client = f"127.0.0.1:{sock.getsockname()[1]}"
                workers.add(shared.wait_for("flow-opened", client=client)["flow"] % 2)
            if len(workers) == 2:
                break
        assert workers == {0, 1}
        with pytest.raises(ConfigError, match="address already in use"):
            shared.do(OpenForward(ForwardSpec(forward, spec.target), initiator))


def test_a_forwards_own_settings_hold_on_every_worker_and_one_that_starts_later(shared: Commanded) -> None:
    with Origin(echo) as origin:
        target = Endpoint(origin.host, origin.port)
        forward = shared.do(OpenForward(ForwardSpec(Endpoint("127.0.0.1", 0), target, ("cut.at_request=2",))))
        with pytest.raises(ConfigError, match="nothing says when it cuts"):
            shared.do(AdjustForward(forward, ("cut.how=fin",)))
        with pytest.raises(ConfigError, match="no forward listens at"):
            shared.do(AdjustForward(Endpoint("127.0.0.1", 1), ()))
        assert {first_answer(forward) for _ in range(8)} == {b"x"}
        shared.do(AdjustForward(forward, ("cut.at_request=1", "cut.how=fin")))
        assert {first_answer(forward) for _ in range(ENOUGH_FOR_BOTH)} == {b""}
        (spec,) = (spec for spec in shared.workers._standing.config.forwards if spec.bind == forward)
        assert spec.settings == ("cut.at_request=1", "cut.how=fin"), "what a worker that starts later begins with"
        shared.wait_for("forward-changed", settings=list(spec.settings))


def first_answer(address: Endpoint) -> bytes:
    with socket.create_connection(address, timeout=20) as sock:
        sock.sendall(b"x")
        return sock.recv(1)


def test_a_worker_that_replaces_a_dead_one_has_what_was_changed_before_and_while_it_starts(served: Commanded) -> None:
    with Origin(echo) as origin, ExitStack() as stack:
        forward = served.do(OpenForward(ForwardSpec(Endpoint("127.0.0.1", 0), Endpoint(origin.host, origin.port))))
        served.do(ResolveAs(ResolveOverride("guest.test", origin.port, "127.0.0.1")))
        served.do(Freeze(Side.EXTERNAL))
        served.do(Advance(3600.0))
        served.kill_a_worker()
        served.do(KEEP_ON_LINK_DOWN)
        served.wait_for_the_replacement()
        socks = [stack.enter_context(socket.create_connection(forward, timeout=20)) for _ in range(ENOUGH_FOR_BOTH)]
        for sock in socks:
            sock.sendall(b"x")
        assert select.select(socks, [], [], SILENT_S)[0] == []
        served.do(Thaw(Side.EXTERNAL))
        served.do(LinkDown())
        for sock in socks:
            assert read_exactly(sock, 1) == b"x"
            connect_by_port(served.port, "guest.test", origin.port).close()
        assert served.events.count("frozen") == 1
        assert {served.seconds_of("flow-opened", flow) // 3600 for flow in served.flows} == {1}


def test_a_command_that_is_wrong_changes_nothing_on_any_worker(shared: Commanded) -> None:
    told = shared.events.count("settings-changed")
    for wrong in (Adjust(("tos-reset.mask=0xFC", "tos-reset.nonsense=1")), SetTimeScale(0.0), Advance(-1.0)):
        with pytest.raises(ConfigError):
            shared.do(wrong)
    with pytest.raises(RelayBug, match="no worker carries out"):
        shared.do(Command())
    assert shared.events.count("settings-changed") == told
    with Origin(echo) as origin, call_both_workers(shared, origin.port) as calls:
        for each in calls.values():
            each.exchange()


def test_what_one_worker_cannot_do_is_an_error(shared: Commanded) -> None:
    with Origin(echo) as origin, call_both_workers(shared, origin.port):
        pass  # both have begun, and opened what their loops need
    pid = shared.wait_for("worker-started", worker=2)["pid"]
    limits = resource.prlimit(pid, resource.RLIMIT_NOFILE, (0, resource.prlimit(pid, resource.RLIMIT_NOFILE)[1]))
    try:
        with pytest.raises(ConfigError, match=r"bind: cannot listen on .*: too many open files"):
            shared.do(OpenForward(ForwardSpec(Endpoint("127.0.0.1", 0), Endpoint("127.0.0.1", 9))))
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)


def test_draining_counts_the_flows_of_all_workers(served: Commanded) -> None:
    with Origin(echo) as origin, two_calls(served, origin):
        assert served.do(Drain(20.0)) == served.events.count("flow-opened") >= 2
        with pytest.raises(ConnectionRefusedError):
            connect_by_port(served.port, "127.0.0.1", origin.port)
    served.wait_for("relay-draining")
    assert served.events.count("relay-draining") == 1


def test_each_worker_carries_the_datagrams_of_its_clients(shared: Commanded) -> None:
    workers = set[int]()
    with udp_server() as server:
        for _ in range(ENOUGH_FOR_BOTH):
            with Associated(shared.port) as app:
                app.send(b"hello", server.address)
                server.echo()
                assert app.receive() == (b"hello", server.address)
                workers.add(shared.wait_for("association-opened", address=str(app.relay))["flow"] % 2)
            if len(workers) == 2:
                return
    raise AssertionError("one worker has had them all")
