"""When descriptors run out under load: those that are in go on, callers wait, and it is said once."""

from __future__ import annotations

from pathlib import Path

from support.capabilities import need_program
from support.masses import Steady, descriptor_count, mass_clients, mass_origin, wait_until
from support.programs import serve

_LIMIT = 160
_FLOWS = 40
_CALLERS = 200


def test_flows_go_on_while_callers_wait_for_descriptors(backend: str, tmp_path: Path) -> None:
    limit = (
        need_program("prlimit"),
        f"--nofile={_LIMIT}:{_LIMIT}",
    )  # the hard limit, too: the relay raises its soft one
    with (
        mass_origin() as (_, port),
        serve(tmp_path, "--backend", backend, "--quiet", prefix=limit) as served,
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
