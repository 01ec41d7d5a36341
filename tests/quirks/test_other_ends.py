"""The ends of the behaviours beside `idle-timeout`, and its failures and delays: kernel sockets, and wire mode.

What each end is to each peer is in `support.watched_end`; which behaviour asks for which end, and when, is played in
`tests/behaviours`. Here each of them is seen to come out.
"""

from __future__ import annotations

import json
import queue
import socket
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from relay.testing import RunningRelay, serve_in_thread
from support.behind_nat import BACKENDS, HOST, run_inside
from support.capabilities import need_root
from support.clients import Refused, connect
from support.origins import Origin, black_hole, echo, held_connections, read_exactly, refusing_port
from support.programs import as_ordinary_user, serve
from support.watched_end import EXACT, UNPRIVILEGED, watch

pytestmark = [pytest.mark.system, pytest.mark.skipif(sys.platform != "linux", reason="seen on Linux alone")]

ENDS = ("silence", "rst-on-next", "rst", "fin")
SIDES = ("app", "server")
WAITS_S = 0.5
WAYS = ("forward", "socks5", "http-connect")


class Pairs:
    """Connections through a relay, both of their ends held."""

    def __init__(self, address: tuple[str, int], accepted: queue.Queue[socket.socket], sockets: ExitStack) -> None:
        self._address = address
        self._accepted = accepted
        self._sockets = sockets

    def __call__(self) -> tuple[socket.socket, socket.socket]:
        app = self._sockets.enter_context(socket.create_connection(self._address))
        app.sendall(b"x")
        assert app.recv(1) == b"x"
        return app, self._accepted.get(timeout=20)


Found: TypeAlias = dict[tuple[str, str], str]
"""By side, and by what the peer does."""


def watched(pool: ThreadPoolExecutor, call: Pairs, waits_s: float, *peers: str, end: Callable[[], object]) -> Found:
    """What either side of a connection comes to that each of these peers has, once it was ended."""
    pairs = {does: call() for does in peers}
    end()
    found = {
        (side, does): pool.submit(watch, sock, does, waits_s)
        for does, pair in pairs.items()
        for side, sock in zip(SIDES, pair, strict=True)
    }
    return {key: future.result() for key, future in found.items()}


ENDINGS: dict[str, tuple[dict[str, object], Callable[[RunningRelay], object]]] = {
    "lifetime_limit": ({"after_s": 100}, lambda nat: nat.advance(100)),
    "stray_reset": ({"share": 1, "within_s": 100}, lambda nat: nat.advance(100)),
    "link_down_reset": ({"every_s": 100}, lambda nat: nat.advance(100)),
}
"""Settings, and how a behaviour is brought to end a connection."""


@pytest.mark.parametrize("behaviour", ENDINGS)
def test_each_end_is_what_it_is_called_to_a_reader_a_writer_and_a_prober(backend: str, behaviour: str) -> None:
    need_root()
    settings, bring_about = ENDINGS[behaviour]

    def ends(internal: str, external: str) -> Found:
        options: dict[str, Any] = {behaviour: {**settings, "internal": internal, "external": external}}
        with (
            held_connections() as (origin, accepted),
            serve_in_thread("transparent", backend=backend, **options) as nat,
            ExitStack() as sockets,
            ThreadPoolExecutor(6) as pool,
        ):
            address = nat.forward(origin.host, origin.port)
            call = Pairs((address.host, address.port), accepted, sockets)
            found = watched(pool, call, 2.5, "reads", "writes", "probes", end=lambda: bring_about(nat))
            ended = nat.wait_for("flow-ended", flow=3).fields
            assert ended["because"] == behaviour.replace("_", "-")
        return found

    theirs = (*ENDS[1:], ENDS[0])  # each end once on either side
    with ThreadPoolExecutor(len(ENDS)) as pool:
        for internal, external, found in zip(ENDS, theirs, pool.map(ends, ENDS, theirs), strict=True):
            assert found == {
                (side, does): EXACT[how, does]
                for side, how in zip(SIDES, (internal, external), strict=True)
                for does in ("reads", "writes", "probes")
            }


BY_ITSELF = {
    "lifetime-limit": ("after_s=0.4",),
    "stray-reset": ("share=1", "within_s=0.4"),
    "link-down-reset": ("every_s=0.7",),
}
"""Settings with which each behaviour ends a connection within a second or so."""


def ending(behaviour: str, *settings: str) -> list[str]:
    """What has the relay end connections so."""
    return [word for each in (*BY_ITSELF[behaviour], *settings) for word in ("--set", f"{behaviour}.{each}")]


@pytest.mark.parametrize("behaviour", BY_ITSELF)
def test_without_privilege_what_is_written_into_silence_is_acknowledged(
    tmp_path: Path, backend: str, behaviour: str
) -> None:
    need_root()
    tmp_path.chmod(0o777)
    options = ending(behaviour, "internal=silence", "external=silence")
    with (
        held_connections() as (origin, accepted),
        serve(
            tmp_path,
            *("--profile", "transparent", "--backend", backend, "--forward", f"0:{origin.target}", *options),
            prefix=as_ordinary_user(),
        ) as served,
        ExitStack() as sockets,
        ThreadPoolExecutor(4) as pool,
    ):
        call = Pairs(("127.0.0.1", served.ports[1]), accepted, sockets)
        found = watched(pool, call, WAITS_S, "reads", "writes", end=lambda: served.wait_for("flow-ended", flow=2))
    assert found == {(side, does): UNPRIVILEGED["silence", does] for side in SIDES for does in ("reads", "writes")}


def test_connections_of_any_age_end_at_one_moment_which_jitter_moves(backend: str) -> None:
    settings = {"every_s": 100, "jitter_s": 30}
    with (
        held_connections() as (origin, accepted),
        serve_in_thread("transparent", backend=backend, link_down_reset=settings) as nat,
        ExitStack() as sockets,
    ):
        address = nat.forward(origin.host, origin.port)
        call = Pairs((address.host, address.port), accepted, sockets)
        for _ in range(3):
            call()
            nat.advance(20)
        nat.advance(90)
        ends_s = [record.at_s for record in nat.events if record.event == "flow-ended"]
    assert len(ends_s) == 3
    assert ends_s == pytest.approx([ends_s[0]] * 3, abs=0.001)
    assert 100 < ends_s[0] <= 130


# Dials that fail, or are late


@pytest.mark.parametrize("way", WAYS)
def test_a_refusal_may_be_silence(backend: str, way: str) -> None:
    with (
        refusing_port() as port,
        serve_in_thread("transparent", backend=backend, refusal_mapping={"refused": "silence"}) as nat,
        ThreadPoolExecutor(1) as pool,
    ):
        outcome = pool.submit(asked, nat, way, port)
        nat.wait_for("forgotten", because="refusal-mapping")
        nat.advance(129)
        time.sleep(WAITS_S)
        assert not outcome.done()
        nat.advance(1)
        assert outcome.result(20) == "ECONNRESET"


def asked(nat: RunningRelay, way: str, port: int) -> str:
    """What becomes of a connection that is asked for, and of the first read."""
    try:
        with connect(nat, way, "127.0.0.1", port) as sock:
            return "hears more" if sock.recv(1) else "FIN"
    except Refused as refused:
        return f"refused by {refused.code}"
    except ConnectionResetError:
        return "ECONNRESET"


@pytest.mark.parametrize(("way", "told"), [("socks5", "refused by 5"), ("http-connect", "refused by 502")])
def test_a_timeout_may_be_a_refusal(backend: str, way: str, told: str) -> None:
    with (
        black_hole() as port,
        serve_in_thread(
            "transparent", backend=backend, connect_timeout_s=0.3, refusal_mapping={"timed_out": "refused"}
        ) as nat,
    ):
        assert asked(nat, way, port) == told


@pytest.mark.parametrize(("failed", "end"), [("rst", "ECONNRESET"), ("fin", "FIN")])
@pytest.mark.parametrize("way", WAYS)
def test_a_connect_that_succeeds_first_ends_as_failed_says(backend: str, way: str, failed: str, end: str) -> None:
    settings = {"order": "internal-first", "failed": failed}
    with (
        refusing_port() as port,
        serve_in_thread("transparent", backend=backend, precomplete_handshake=settings) as nat,
    ):
        assert asked(nat, way, port) == end


@pytest.mark.parametrize("way", WAYS)
def test_syns_and_questions_that_are_lost_delay_the_dial(backend: str, way: str) -> None:
    settings = {"syn_share": 1, "by_s": 1, "name_share": 1, "name_by_s": 5}
    late_s = 63 + (5 if way != "forward" else 0)  # six SYNs are lost; a forward knows an address
    with (
        Origin(echo) as origin,
        serve_in_thread("transparent", backend=backend, slow_dial=settings) as nat,
        ThreadPoolExecutor(1) as pool,
    ):
        nat.resolve("origin.test", origin.port, origin.host)
        host = "127.0.0.1" if way == "forward" else "origin.test"
        connected = pool.submit(connect, nat, way, host, origin.port)
        nat.wait_for("flow-opened")
        nat.advance(late_s - 1)
        assert [record for record in nat.events if record.event == "flow-connected"] == []
        nat.advance(1)
        nat.wait_for("flow-connected")
        with connected.result(20) as sock:
            sock.sendall(b"hello")
            assert read_exactly(sock, 5) == b"hello"


# Wire mode

WATCHED = {
    "lifetime-limit": ("rst-on-next", ("reads", "writes")),
    "stray-reset": ("silence", ("reads", "writes")),
    "link-down-reset": ("fin", ("reads", "writes")),
}


def inside(directory: Path, name: str, command: list[str], backend: str, *options: str) -> Any:
    """What a program behind the NAT has found out."""
    (directory / name).mkdir()
    done, _ = run_inside(directory / name, command, "--backend", backend, "--profile", "transparent", *options)
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_ends_in_wire_mode(tmp_path: Path, backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))

    def found(behaviour: str) -> Any:
        end, peers = WATCHED[behaviour]
        events = str(tmp_path / behaviour / "events.jsonl")
        command = [sys.executable, "-m", "support.watched_end", HOST, str(origin.port), "2", events, *peers]
        return inside(tmp_path, behaviour, command, backend, *ending(behaviour, f"internal={end}"))

    with held_connections() as (origin, _), ThreadPoolExecutor(3) as pool:
        told = dict(zip(WATCHED, pool.map(found, WATCHED), strict=True))
    assert told == {name: [EXACT[end, does] for does in peers] for name, (end, peers) in WATCHED.items()}


# Connects, waits for so long at most, and reads; which of it ended, how, and after how many seconds.
CONNECTS = """
import errno, json, socket, sys, time
began_s = time.monotonic()
with socket.socket() as sock:
    sock.settimeout(float(sys.argv[3]))
    stage = "connect"
    try:
        sock.connect((sys.argv[1], int(sys.argv[2])))
        stage = "read"
        outcome = "data" if sock.recv(1) else "FIN"
    except TimeoutError as error:
        outcome = "nothing"
    except OSError as error:
        outcome = errno.errorcode[error.errno]
print(json.dumps([stage, outcome, time.monotonic() - began_s]))
"""


@pytest.mark.parametrize("backend", BACKENDS)
def test_dials_that_fail_or_are_late_in_wire_mode(tmp_path: Path, backend: str) -> None:
    first = "--set precomplete-handshake.order=internal-first --set precomplete-handshake.failed="
    with refusing_port() as refusing, Origin(lambda connection: connection.sendall(b"x")) as origin:
        cases = {
            "silence": (refusing, "1.5", "--set refusal-mapping.refused=silence"),
            "rst": (refusing, "20", f"{first}rst"),
            "fin": (refusing, "20", f"{first}fin"),
            "late": (origin.port, "20", "--set slow-dial.syn_share=1 --set slow-dial.by_s=0.02"),
        }

        def found(name: str) -> Any:
            port, waits_s, options = cases[name]
            command = [sys.executable, "-c", CONNECTS, HOST, str(port), waits_s]
            return inside(tmp_path, name, command, backend, *options.split())

        with ThreadPoolExecutor(2) as pool:
            told = dict(zip(cases, pool.map(found, cases), strict=True))
    outcomes = {name: outcome for name, (_, outcome, _) in told.items()}
    assert outcomes == {"silence": "nothing", "rst": "ECONNRESET", "fin": "FIN", "late": "data"}
    assert (told["silence"][0], told["fin"][0]) == ("connect", "read")  # a RST may come before connect() returns
    assert 63 * 0.02 < told["late"][2] < 10
