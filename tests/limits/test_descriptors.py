"""When descriptors run out under load: those that are in go on, callers wait, and it is said once."""

from __future__ import annotations

from pathlib import Path

from relay.net.pump import BULK_BYTES
from support.clients import connect_by_port, crowd
from support.masses import Steady, descriptor_count, mass_clients, mass_origin, pipe_ends, wait_until
from support.origins import Origin, echo, read_exactly
from support.programs import serve, with_few_descriptors

_LIMIT = 160
_FLOWS = 40
_CALLERS = 200


def test_pipes_that_wait_for_more_bulk_give_way_to_callers(backend: str, tmp_path: Path) -> None:
    with Origin(echo) as origin, serve(tmp_path, "--backend", backend, prefix=with_few_descriptors(_LIMIT)) as served:
        pid = served.process.pid
        before = pipe_ends(pid)
        with connect_by_port(served.port, "127.0.0.1", origin.port) as app:
            for _ in range(BULK_BYTES // (1 << 16) + 16):
                app.sendall(bytes(1 << 16))
                read_exactly(app, 1 << 16)
        assert pipe_ends(pid) > before
        with crowd(served.port, _LIMIT):
            served.wait_for("accept-paused")
            assert pipe_ends(pid) == before


def test_flows_go_on_while_callers_wait_for_descriptors(backend: str, tmp_path: Path) -> None:
    with (
        mass_origin() as (_, port),
        serve(tmp_path, "--backend", backend, "--quiet", prefix=with_few_descriptors(_LIMIT)) as served,
        mass_clients(served.port, port) as clients,
        mass_clients(served.port, port) as callers,
    ):
        rounds = 0

        def run_out() -> None:
            nonlocal rounds
            rounds += 1
            assert clients.do(f"open {_FLOWS}") == {"granted": _FLOWS}
            assert clients.do("load") == {"echoed": _FLOWS}
            assert callers.do(f"call {_CALLERS}") == {"called": _CALLERS}
            wait_until(lambda: served.count("accept-paused") == rounds, lambda: "it has descriptors still")
            assert clients.do("ping") == {"echoed": _FLOWS}
            assert descriptor_count(served.process.pid) <= _LIMIT
            assert served.count("accept-paused") == rounds
            callers.do("reset")
            wait_until(lambda: served.count("accept-resumed") == rounds, lambda: "it has not resumed")
            assert clients.do("end") == {"whole": _FLOWS}

        Steady(served, port).check(run_out)
