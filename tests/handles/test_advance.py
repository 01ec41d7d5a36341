"""`advance` on real sockets: what was sent before counts as before, what is due happens in order, and is returned."""

from __future__ import annotations

import json
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime

import anyio
import anyio.to_thread
import pytest

from relay import AsyncRelay, open_relay
from relay.actions import Note, StartTimer
from relay.behaviours import Actions, Behaviour
from relay.control import Advance
from relay.errors import ConfigError, Unsettled
from relay.events import DialSucceeded, TimerFired
from relay.log import Record
from relay.testing import RunningRelay, serve_in_thread
from support.alarms import with_alarms
from support.origins import Origin, echo, read_exactly, read_until_over

_SO_MAX_PACING_RATE = 47  # asm-generic/socket.h
_LIMIT_S = 350
_IDLE = {"after_s": _LIMIT_S, "internal": "fin", "external": "fin"}
_MUCH = bytes(16 << 20)  # more than the kernels hold for an app that does not read


@pytest.fixture
def origin() -> Iterator[Origin]:
    with Origin(echo) as origin:
        yield origin


def called(nat: RunningRelay, origin: Origin) -> socket.socket:
    """A connection that has carried something."""
    sock = socket.create_connection(nat.forward(origin.host, origin.port), timeout=20)
    exchange(sock)
    return sock


def exchange(sock: socket.socket, data: bytes = b"x") -> None:
    sock.sendall(data)
    assert read_exactly(sock, len(data)) == data


def refusal_when_full(nat: RunningRelay) -> Unsettled:
    """What it says once the kernels hold no more of what is sent to an app that does not read it."""
    while True:
        try:
            nat.advance(0)
        except Unsettled as error:
            if str(error).endswith("to read"):
                return error


async def is_settled(nat: AsyncRelay) -> bool:
    try:
        await nat.advance(0)
    except Unsettled:
        return False
    return True


def told(records: list[Record]) -> list[tuple[int | None, str]]:
    return [(record.flow, record.event) for record in records]


def test_it_returns_what_it_caused_in_order_each_at_its_own_moment(backend: str, origin: Origin) -> None:
    with serve_in_thread(with_alarms(), backend=backend) as nat, called(nat, origin):
        opened_s = nat.wait_for("flow-connected").at_s
        assert told(nat.advance(100)) == [(None, "time-advanced")]
        first, second, last, end = nat.advance(200.5)
        assert [record.fields["text"] for record in (first, second, last)] == ["first", "second", "last"]
        assert first.at_s - opened_s == pytest.approx(200, abs=0.1)
        assert second.at_s - first.at_s == pytest.approx(50, abs=1e-6), "no real time passes meanwhile"
        assert last.at_s - opened_s == pytest.approx(300, abs=0.1)
        assert (end.event, end.fields) == ("time-advanced", {"by_s": 200.5})
        assert nat.events[-4:] == [first, second, last, end]
        line = json.loads(last.as_json(nat.log.started_at))
        assert abs(datetime.fromisoformat(line["at"]).timestamp() - time.time()) < 60, "the wall clock has not moved"


def test_what_was_sent_before_counts_as_before(backend: str, origin: Origin) -> None:
    """However soon after it: neither a byte of the app's nor one of the server's is missed."""
    with (
        serve_in_thread("transparent", backend=backend, idle_timeout=_IDLE) as nat,
        socket.create_connection(nat.forward(origin.host, origin.port), timeout=20) as sock,
    ):
        for _ in range(20):
            sock.sendall(b"x")
            assert told(nat.advance(_LIMIT_S - 1)) == [(None, "time-advanced")]
            assert read_exactly(sock, 1) == b"x"


@pytest.mark.skipif(sys.platform != "linux", reason="pacing, and a look at it, are Linux's")
def test_what_an_apps_kernel_still_paces_counts_as_before(backend: str) -> None:
    data = bytes(600_000)
    with (
        Origin(read_until_over) as origin,  # type: ignore[arg-type]
        serve_in_thread("transparent", backend=backend) as nat,
        socket.create_connection(nat.forward(origin.host, origin.port), timeout=20) as sock,
    ):
        nat.wait_for("flow-connected")
        sock.setsockopt(socket.SOL_SOCKET, _SO_MAX_PACING_RATE, 6_000_000)  # bytes a second
        sock.sendall(data)
        nat.advance(1)
        (flow,) = nat._relay._driver.flows.values()
        assert flow.moved_bytes == len(data)


def test_each_flow_has_its_own_moment(backend: str, origin: Origin) -> None:
    with serve_in_thread("transparent", backend=backend, idle_timeout=_IDLE) as nat, ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(called(nat, origin))
            nat.advance(100)
        lasts_s = [max(r.at_s for r in flow.records if r.event != "note") for flow in nat.flows]
        caused = nat.advance(_LIMIT_S)
        ended = [record for record in caused if record.event == "flow-ended"]
        assert [record.flow for record in ended] == [1, 2, 3]
        for record, last_s in zip(ended, lasts_s, strict=True):
            assert record.at_s - last_s == pytest.approx(_LIMIT_S, abs=5)
        assert {record.fields["because"] for record in ended} == {"idle-timeout"}


@pytest.mark.anyio
async def test_in_the_programs_own_loop_it_is_awaited_and_the_programs_tasks_go_on(anyio_backend: str) -> None:
    """The app reads in the very loop that the relay runs in: it could not, if the relay blocked that until it rests."""
    with Origin(lambda connection: connection.sendall(_MUCH)) as origin:
        async with open_relay("transparent", idle_timeout=_IDLE) as nat, anyio.create_task_group() as tasks:
            stream = await anyio.connect_tcp(*nat.forward(origin.host, origin.port))
            await nat.wait_for("flow-connected")
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr("relay.loop.settling.SETTLE_S", 0.05)
                while await is_settled(nat):
                    pass
            received, done = 0, anyio.Event()

            async def read() -> None:
                nonlocal received
                async for chunk in stream:
                    received += len(chunk)
                done.set()

            tasks.start_soon(read)
            caused = await nat.advance(1)
            assert received > 0, "it did not rest before"
            assert told(caused)[-1] == (None, "time-advanced")
            await done.wait()
            await stream.aclose()


@pytest.mark.anyio
@pytest.mark.parametrize("how", ["awaited", "blocking", "in a thread"])
async def test_async_tests_get_the_same_from_either_handle(anyio_backend: str, how: str, origin: Origin) -> None:
    async def use(nat: RunningRelay | AsyncRelay) -> None:
        async with await anyio.connect_tcp(*nat.forward(origin.host, origin.port)) as stream:
            await stream.send(b"x")
            assert await stream.receive() == b"x"
            if isinstance(nat, AsyncRelay):
                caused = await nat.advance(_LIMIT_S)
            elif how == "blocking":
                caused = nat.advance(_LIMIT_S)
            else:
                caused = await anyio.to_thread.run_sync(nat.advance, _LIMIT_S)
            events = [event for _, event in told(caused)]
            assert events == ["fin-sent", "fin-sent", "flow-ended", "time-advanced"]
            with pytest.raises(anyio.EndOfStream):
                await stream.receive()

    if how == "awaited":
        async with open_relay("transparent", idle_timeout=_IDLE) as looped:
            await use(looped)
    else:
        with serve_in_thread("transparent", idle_timeout=_IDLE) as threaded:
            await use(threaded)


# Past the idle limit


@pytest.mark.parametrize(
    ("settings", "limit_s"),
    [
        ({"after_s": 350}, 350),
        ({"after_s": 300, "late_s": 30}, 330),
        ({"after_s": 900, "half_closed_s": 60, "late_s": 1}, 901),
    ],
)
def test_expire_goes_just_past_the_longest_idle_limit(
    backend: str, origin: Origin, settings: dict[str, float], limit_s: float
) -> None:
    with serve_in_thread("transparent", backend=backend, idle_timeout=settings) as nat, called(nat, origin):
        *_, ended, advanced = nat.expire()
        assert (ended.event, ended.fields["because"]) == ("flow-ended", "idle-timeout")
        assert limit_s < advanced.fields["by_s"] < limit_s + 0.01


def test_what_set_has_changed_since_may_be_longer_or_shorter(backend: str, origin: Origin) -> None:
    with serve_in_thread("aws-nat-gateway", backend=backend) as nat, called(nat, origin):
        nat.set(idle_timeout={"after_s": 10})
        assert nat.expire()[-1].fields["by_s"] == pytest.approx(350, abs=0.01), "flows that are open keep theirs"
        nat.set(idle_timeout={"after_s": 1000})
        assert nat.expire()[-1].fields["by_s"] == pytest.approx(1000, abs=0.01)


@pytest.mark.anyio
async def test_a_profile_without_an_idle_limit_has_no_moment_to_expire_at(anyio_backend: str) -> None:
    async with open_relay("vmware-fusion") as nat:
        with pytest.raises(ConfigError, match="expire: vmware-fusion-11 has no idle limit") as caught:
            await nat.expire()
        assert "idle_timeout={'after_s': 350}" in caught.value.hint


# Who does not rest


def test_an_app_that_does_not_read_is_named_and_nothing_has_changed(
    backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        Origin(lambda connection: connection.sendall(_MUCH)) as origin,
        serve_in_thread("transparent", backend=backend, idle_timeout=_IDLE) as nat,
        socket.create_connection(nat.forward(origin.host, origin.port), timeout=20) as sock,
    ):
        nat.wait_for("flow-connected")
        process = nat.flows[0].process
        who = f"{process[1]}[{process[0]}]" if process is not None else f"127.0.0.1:{sock.getsockname()[1]}"
        with monkeypatch.context() as patch:
            patch.setattr("relay.loop.settling.SETTLE_S", 0.1)
            refusal = refusal_when_full(nat)
            named, _, why = str(refusal).partition(" does not settle within 1 s: ")
            assert named == f"advance: flow #1 ({who} to {origin.target})"
            assert why.endswith(" B wait for the app to read")
            assert "frozen" in refusal.hint
            count = len(nat.events)
            with pytest.raises(Unsettled):
                nat.advance(_LIMIT_S)
            assert len(nat.events) == count
        nat.freeze("app")
        assert told(nat.advance(10))[-1:] == [(None, "time-advanced")]
        nat.thaw("app")
        assert read_exactly(sock, len(_MUCH)) == _MUCH
        nat.advance(10)


def test_a_flow_that_carries_without_a_pause_is_named(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relay.loop.settling.SETTLE_S", 0.1)
    monkeypatch.setattr("relay.driver.advancing._rest", lambda driver, **how: False)  # it never looks so
    over = threading.Event()

    def chatter(connection: socket.socket) -> None:
        while not over.is_set():
            connection.sendall(b"x" * 1000)

    with (
        Origin(chatter) as origin,
        serve_in_thread("transparent", backend=backend) as nat,
        socket.create_connection(nat.forward(origin.host, origin.port), timeout=20) as sock,
    ):
        reader = threading.Thread(target=lambda: [None for _ in iter(lambda: sock.recv(65536), b"")])
        reader.start()
        try:
            with pytest.raises(Unsettled, match=r"flow #1 .*(it goes on carrying, \d+ B in the last|wait for the app)"):
                nat.advance(10)
        finally:
            over.set()
            reader.join(20)


def test_one_that_does_not_rest_on_the_way_leaves_the_clock_where_it_had_come_to(
    backend: str, origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve_in_thread(with_alarms(), backend=backend) as nat, called(nat, origin):
        with monkeypatch.context() as patch:
            patch.setattr("relay.loop.settling.SETTLE_S", 0.4)
            patch.setattr("relay.loop.settling._QUIET_S", 0.001)  # it looks after each, as on other systems
            patch.setattr("relay.driver.advancing._rest", lambda driver, **how: "lightly" not in how)
            with pytest.raises(Unsettled, match="the relay does not settle within 1 s: it has always work") as raised:
                nat.advance(1000)
            assert raised.value.hint.startswith("wait until the connections")
        note, advanced = nat.events[-2:]
        assert (note.fields["text"], advanced.event) == ("first", "time-advanced")
        assert advanced.fields["by_s"] == pytest.approx(200, abs=1)
        assert [record.fields.get("text") for record in nat.advance(100)] == ["second", "last", None]


@pytest.mark.parametrize("rests_at_first", [False, True])
def test_the_clock_of_one_of_several_relays_keeps_in_step_even_so(
    backend: str, origin: Origin, monkeypatch: pytest.MonkeyPatch, rests_at_first: bool
) -> None:
    with serve_in_thread(with_alarms(), backend=backend) as nat, called(nat, origin):
        nat._relay._commands._in_step = True
        with monkeypatch.context() as patch:
            patch.setattr("relay.loop.settling.SETTLE_S", 0.4)
            patch.setattr("relay.loop.settling._QUIET_S", 0.001)
            patch.setattr("relay.driver.advancing._rest", lambda driver, **how: rests_at_first and "peers" in how)
            with pytest.raises(Unsettled):
                nat.advance(1000)
        for text in ("first", "last"):
            assert nat.wait_for("note", text=text).at_s >= (200 if rests_at_first and text == "first" else 1000)
        assert nat.advance(1)[-1].at_s == pytest.approx(1001, abs=20)


def test_under_load_idle_flows_end_and_busy_ones_live(backend: str, origin: Origin) -> None:
    """Step by step, for what the busy app would say meanwhile it can only say between two steps."""
    with (
        serve_in_thread("transparent", backend=backend, idle_timeout=_IDLE) as nat,
        called(nat, origin),
        called(nat, origin) as busy,
    ):
        over, exchanged = threading.Event(), threading.Semaphore(0)

        def chat() -> None:
            while not over.is_set():
                exchange(busy, b"x" * 10_000)
                exchanged.release()

        thread = threading.Thread(target=chat)
        thread.start()
        try:
            ended = []
            for _ in range(4):
                ended += [record.flow for record in nat.advance(100) if record.event == "flow-ended"]
                while exchanged.acquire(blocking=False):
                    pass
                assert exchanged.acquire(timeout=20)
            assert ended == [1]
        finally:
            over.set()
            thread.join(20)
        exchange(busy)


def test_two_threads_may_advance_at_once_and_take_turns(backend: str, origin: Origin) -> None:
    with serve_in_thread("transparent", backend=backend) as nat, called(nat, origin):
        before_s = nat.events[-1].at_s
        threads = [threading.Thread(target=nat.advance, args=(100,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        assert [record.fields for record in nat.events if record.event == "time-advanced"] == [{"by_s": 100}] * 4
        assert nat.events[-1].at_s - before_s == pytest.approx(400, abs=5)


@pytest.mark.anyio
async def test_as_a_command_it_is_carried_out_without_a_pause(anyio_backend: str) -> None:
    """Which is what a program in the relay's own loop gets from `do`."""
    async with open_relay(with_alarms()) as nat:
        with Origin(echo) as origin:
            async with await anyio.connect_tcp(*nat.forward(origin.host, origin.port)) as stream:
                await stream.send(b"x")
                assert await stream.receive() == b"x"
                await nat.await_records()
                caused = nat.do(Advance(300))
                assert [record.fields.get("text") for record in caused] == ["first", "second", "last", None]


@pytest.mark.anyio
async def test_a_listener_of_the_log_cannot_move_the_clock_that_dates_its_records(anyio_backend: str) -> None:
    faults: list[str] = []
    async with open_relay("transparent") as nat:

        def listener(record: Record) -> None:
            if record.event == "flow-opened":
                try:
                    nat.do(Advance(1))
                except RuntimeError as error:
                    faults.append(str(error))

        nat.log.subscribe(listener)
        with Origin(echo) as origin:
            async with await anyio.connect_tcp(*nat.forward(origin.host, origin.port)) as stream:
                await stream.send(b"x")  # so that the origin has accepted it by its end
                assert await stream.receive() == b"x"
    assert faults == ["a callback of the relay's cannot advance its clock"]


@pytest.mark.anyio
async def test_a_wrong_number_of_seconds_is_found_at_the_call() -> None:
    async with open_relay("transparent") as nat:
        for seconds in (-1.0, float("nan"), float("inf")):
            with pytest.raises(ConfigError, match=r"advance: .* is out of range"):
                await nat.advance(seconds)


# A clock that moves by hand


def test_a_manual_clock_moves_by_advance_alone_to_the_microsecond(backend: str, origin: Origin) -> None:
    with serve_in_thread(with_alarms(), backend=backend, clock="manual") as nat, called(nat, origin):
        connected_s = nat.wait_for("flow-connected").at_s
        assert {record.at_s for record in nat.events} == {connected_s}
        exact = [record.at_s - connected_s for record in nat.advance(300)]
        assert exact == [200, 250, 300, 300]
        line = json.loads(nat.events[-1].as_json(nat.log.started_at))
        assert abs(datetime.fromisoformat(line["at"]).timestamp() - time.time()) < 60


def test_on_a_manual_clock_no_time_passes_between_two_steps(backend: str, origin: Origin) -> None:
    limit = {"after_s": 40, "internal": "fin", "external": "fin"}
    with (
        serve_in_thread("transparent", backend=backend, clock="manual", time_scale=1000, idle_timeout=limit) as nat,
        called(nat, origin) as sock,
    ):
        time.sleep(0.05)  # the NAT's 50 s, if its clock ran
        exchange(sock)
        nat.time_scale = 10
        assert told(nat.advance(39)) == [(None, "time-advanced")]
        assert (1, "flow-ended") in told(nat.advance(2))


def test_a_dial_that_the_nat_delays_begins_when_its_moment_has_come(backend: str, origin: Origin) -> None:
    late = {"syn_share": 1.0, "by_s": 1.0}
    with (
        serve_in_thread("transparent", backend=backend, clock="manual", slow_dial=late) as nat,
        socket.create_connection(nat.forward(origin.host, origin.port), timeout=20) as sock,
    ):
        nat.wait_for("flow-opened")
        assert (1, "flow-connected") in told(nat.advance(1000))
        exchange(sock)


@dataclass
class AtOnce(Behaviour):
    """Starts a timer that is due at once."""

    def on_dial_succeeded(self, event: DialSucceeded) -> Actions:
        yield StartTimer("now", 0)

    def on_timer_fired(self, event: TimerFired) -> Actions:
        yield Note(event.key)


def test_what_is_due_at_once_happens_without_a_step(backend: str, origin: Origin) -> None:
    with (
        serve_in_thread("transparent", backend=backend, clock="manual", behaviours=[AtOnce]) as nat,
        called(nat, origin),
    ):
        nat.wait_for("note", text="now")


def test_another_clock_is_found_at_the_call() -> None:
    with pytest.raises(ConfigError, match="clock: 'fast' is not known") as caught, serve_in_thread(clock="fast"):
        pass
    assert caught.value.hint == "it is 'running' or 'manual'"
