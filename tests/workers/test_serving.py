"""`relay serve --workers N`: one relay to its users, in several processes."""

from __future__ import annotations

import socket
from collections import Counter
from pathlib import Path

import pytest

from relay.backend import BACKENDS
from relay.observe.kernel.owner import owner_of
from support.capabilities import need_root
from support.clients import Refused, connect_by_port, is_reset_by
from support.origins import Origin, echo, read_exactly
from support.programs import serve
from support.workers import call, call_both_workers, pids_of

pytestmark = pytest.mark.system


@pytest.fixture(params=BACKENDS)
def any_backend(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def test_connections_land_on_every_worker_and_there_is_one_event_log_of_them(any_backend: str, tmp_path: Path) -> None:
    with Origin(echo) as origin, serve(tmp_path, "--backend", any_backend, "--workers", "2") as served:
        pids = pids_of(served)
        assert len({served.process.pid, *pids.values()}) == 3
        for _ in range(20):
            call(served, origin.port).sock.close()
        with call_both_workers(served, origin.port) as calls:
            for number, each in calls.items():
                owner = owner_of(each.sock)
                assert owner is not None
                assert owner.pid == pids[number]
        served.process.terminate()
        assert served.process.wait(20) == 0
    events = served.events()
    names = Counter(event["event"] for event in events)
    assert (names["relay-started"], names["relay-draining"], names["relay-stopped"]) == (1, 1, 1)
    assert events[0]["event"] == "relay-started"
    assert (events[0]["workers"], events[0]["backend"]) == (2, any_backend)
    assert events[-1]["event"] == "relay-stopped"
    assert names["flow-opened"] == names["flow-ended"] >= 22
    of_flow: dict[int, list[dict[str, object]]] = {}
    for event in events:
        of_flow.setdefault(event["flow"] or 0, []).append(event)
    del of_flow[0]
    assert len(of_flow) == names["flow-opened"]
    for told in of_flow.values():
        assert [event["event"] for event in told][0 :: len(told) - 1] == ["flow-opened", "flow-ended"]
        times = [event["at_s"] for event in told]
        assert times == sorted(times)  # type: ignore[type-var]
    assert min(event["at_s"] for event in events) == events[0]["at_s"]
    stderr = served.stderr()
    assert stderr.count("profile vmware-fusion-11") == stderr.count("relay stopped") == 1
    assert "workers 2 processes" in stderr
    assert stderr.count(" asks for ") == names["flow-opened"]


def test_every_port_is_served_by_every_worker(backend: str, tmp_path: Path) -> None:
    with Origin(echo) as origin:
        forwards = (
            "--forward",
            f"0:{origin.target}",
            "--forward",
            "[::1]:0:[::1]:9",
            "--inbound",
            f"0:{origin.target}",
        )
        arguments = (*forwards, "--resolve", f"guest.test:{origin.port}:127.0.0.1")
        with serve(tmp_path, "--backend", backend, "--workers", "2", *arguments) as served:
            proxy, forward, _, inbound = served.ports
            assert len({*served.ports}) == 4
            started = served.wait_for("relay-started")
            assert started["listen"] == f"127.0.0.1:{proxy}"
            assert started["forwards"][0] == f"127.0.0.1:{forward} -> {origin.target}"
            assert started["inbound"] == [f"127.0.0.1:{inbound} -> {origin.target}"]
            for _ in range(16):
                for port in (forward, inbound):
                    with socket.create_connection(("127.0.0.1", port), timeout=60) as sock:
                        sock.sendall(b"x")
                        assert read_exactly(sock, 1) == b"x"
                with connect_by_port(proxy, "guest.test", origin.port) as sock:
                    sock.sendall(b"x")
                    assert read_exactly(sock, 1) == b"x"
            served.wait_for_count("flow-opened", 3 * 16)
            landed = {(event["via"], event["flow"] % 2) for event in served.events() if event["event"] == "flow-opened"}
            assert landed == {(via, part) for via in ("socks5", "forward", "inbound") for part in (0, 1)}


def test_a_change_of_precedence_resets_its_own_flow_on_whichever_worker_and_no_other(
    backend: str, tmp_path: Path
) -> None:
    need_root()
    with (
        Origin(echo) as origin,
        serve(tmp_path, "--backend", backend, "--workers", "2", "--profile", "vmware-fusion") as served,
        call_both_workers(served, origin.port) as victims,
        call_both_workers(served, origin.port) as bystanders,
        call_both_workers(served, origin.port, tos=0x48) as marked,
    ):
        for victim in victims.values():
            victim.sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, 0x48)
            assert is_reset_by(victim.sock, b"marked")
            assert served.wait_for("flow-ended", flow=victim.flow)["because"] == "tos-reset"
            for each in (*bystanders.values(), *marked.values()):
                each.exchange()
        for each in marked.values():
            each.sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, 0x20)
            assert is_reset_by(each.sock, b"marked otherwise")
        for bystander in bystanders.values():
            bystander.exchange()
        expected = [each.flow for each in (*victims.values(), *marked.values())]
        served.wait_for_count("tos-changed", len(expected))
        changed = [event["flow"] for event in served.events() if event["event"] == "tos-changed"]
        assert sorted(changed) == sorted(expected)


def test_each_worker_has_its_part_of_what_connections_share(any_backend: str, tmp_path: Path) -> None:
    limit = ("--set", "flow-limit.max_flows=2", "--set", "flow-limit.per=relay", "--set", "flow-limit.surplus=refuse")
    profile = ("--profile", "transparent", *limit)
    held, denied = [], 0
    with (
        Origin(echo) as origin,
        serve(tmp_path, "--backend", any_backend, "--workers", "2", *profile) as served,
    ):
        for _ in range(64):  # that the kernel gives them all to the same worker happens once in 2**63
            try:
                held.append(connect_by_port(served.port, origin.host, origin.port))
            except Refused:
                denied += 1
            if len(held) == 2 and denied > 8:
                break
        for sock in held:
            sock.close()
    assert len(held) == 2
    assert {event["limit"] for event in served.events() if event["event"] == "slot-denied"} == {1}
