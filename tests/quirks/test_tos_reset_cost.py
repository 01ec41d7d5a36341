"""What watching for the precedence costs: the delay before a reset, and the idle flows' share of a core."""

from __future__ import annotations

import contextlib
import os
import socket
import statistics
import time
from pathlib import Path

import pytest

from relay.testing import serve_in_thread
from support.capabilities import need_capture, need_root
from support.capture import Capture
from support.clients import connect, is_reset_by
from support.origins import Origin, echo, read_exactly
from support.programs import serve

FLOWS = 100
IDLE_FLOWS = 1000
MEASURED_S = 5.0
SETTLING_S = 1.5  # flows count as busy, and are looked at more often, for a second


@pytest.mark.parametrize("observer", ["ebpf", "socket-filter", "sock-diag"])
def test_the_reset_follows_the_segment_within_10_ms(backend: str, observer: str) -> None:
    need_capture()
    with (
        Origin(echo) as origin,
        serve_in_thread("vmware-fusion", backend=backend, observer=observer) as nat,
        contextlib.ExitStack() as stack,
    ):
        flows = [stack.enter_context(connect(nat, "socks5", origin.host, origin.port)) for _ in range(FLOWS)]
        for sock in flows:
            sock.sendall(b"x")
            read_exactly(sock, 1)
        with Capture(nat.address.port) as capture:
            for sock in flows:
                sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, 0x48)
                assert is_reset_by(sock, b"x")
    marked_s: dict[int, float] = {}
    delays_ms = []
    for packet in capture.packets:
        if packet.tos == 0x48:
            marked_s.setdefault(packet.source_port, packet.at_s)
        elif "R" in packet.flags:
            delays_ms.append((packet.at_s - marked_s[packet.target_port]) * 1000)
    assert len(delays_ms) == FLOWS
    assert statistics.median(delays_ms) < 10, sorted(delays_ms)


def test_a_thousand_idle_flows_cost_less_than_a_twentieth_of_a_core(backend: str, tmp_path: Path) -> None:
    need_root()
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        serve(
            tmp_path, "--forward", f"0:127.0.0.1:{listener.getsockname()[1]}", "--backend", backend, "--quiet"
        ) as served,
        contextlib.ExitStack() as stack,
    ):
        listener.settimeout(60)
        for _ in range(IDLE_FLOWS):
            stack.enter_context(socket.create_connection(("127.0.0.1", served.ports[1]), timeout=60))
            stack.enter_context(listener.accept()[0])
        time.sleep(SETTLING_S)  # the claim is about flows that are left alone
        before_s = _cpu_s(served.process.pid)
        time.sleep(MEASURED_S)
        share = (_cpu_s(served.process.pid) - before_s) / MEASURED_S
    assert share < 0.05, f"{share:.1%} of one core"


def _cpu_s(pid: int) -> float:
    """User and system time of a process: fields 14 and 15 of proc(5)'s stat, behind the name in parentheses."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
