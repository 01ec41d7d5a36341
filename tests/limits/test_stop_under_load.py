"""SIGTERM while bytes pass: no new client is let in, flows have their time, and the exit code is 0."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import pytest

from support.clients import connect_by_port
from support.masses import mass_clients, mass_origin
from support.programs import serve

_FLOWS = 200


def test_flows_that_end_within_their_time_lose_nothing(backend: str, tmp_path: Path) -> None:
    with (
        mass_origin() as (_, port),
        serve(tmp_path, "--backend", backend, "--quiet", "--drain-timeout", "600") as served,
        mass_clients(served.port, port) as clients,
    ):
        assert clients.do(f"open {_FLOWS}") == {"granted": _FLOWS}
        assert clients.do("load") == {"echoed": _FLOWS}
        served.process.send_signal(signal.SIGTERM)
        assert served.wait_for("relay-draining")["flows"] == _FLOWS
        with pytest.raises(ConnectionRefusedError):
            connect_by_port(served.port, "127.0.0.1", port)
        with pytest.raises(subprocess.TimeoutExpired):
            served.process.wait(0.5)  # bytes pass meanwhile
        assert clients.do("end") == {"whole": _FLOWS}
        assert served.process.wait(60) == 0
        assert served.count("flow-ended", because="internal-peer") == _FLOWS
        assert served.wait_for("relay-stopped")["flows_ended"] == 0


def test_flows_that_go_on_are_reset_when_their_time_is_over_and_say_so(backend: str, tmp_path: Path) -> None:
    with (
        mass_origin() as (_, port),
        serve(tmp_path, "--backend", backend, "--quiet", "--drain-timeout", "0.5") as served,
        mass_clients(served.port, port) as clients,
    ):
        assert clients.do(f"open {_FLOWS}") == {"granted": _FLOWS}
        assert clients.do("load") == {"echoed": _FLOWS}
        served.process.send_signal(signal.SIGTERM)
        assert served.process.wait(60) == 0
        assert clients.do("ended") == {"rst": _FLOWS}
        assert served.count("flow-ended", because="shutdown", internal="rst", external="rst") == _FLOWS
        assert served.wait_for("relay-stopped")["flows_ended"] == _FLOWS
