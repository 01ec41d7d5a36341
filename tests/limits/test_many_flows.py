"""Ten thousand flows at once: in two processes, and as many as one may have descriptors for."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.capabilities import missing
from support.masses import (
    Steady,
    check_serving,
    descriptor_count,
    descriptor_limit,
    mass_clients,
    mass_origin,
    resident_bytes,
    wait_until,
)
from support.programs import serve

_FLOWS = 10_000
_BESIDE_FLOWS = 64  # descriptors: the listener, the event loop's, and of the flow that is tried in between
_MAX_FLOW_BYTES = 16 * 1024  # of the relay's own memory; measured: 5.4 KiB


def test_ten_thousand_flows_are_open_at_once_and_every_one_carries(backend: str, tmp_path: Path) -> None:
    if descriptor_limit() < 1.5 * _FLOWS:  # two for each flow, over two processes; their shares are not quite the same
        missing(f"needs {1.5 * _FLOWS:.0f} descriptors (ulimit -Hn), not {descriptor_limit()}")
    with (
        mass_origin() as (_, port),
        serve(tmp_path, "--backend", backend, "--workers", "2", log=False) as served,
        mass_clients(served.port, port) as clients,
    ):
        pid = served.process.pid
        workers = [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        began = sum(map(descriptor_count, workers))
        assert clients.do(f"open {_FLOWS}") == {"granted": _FLOWS}
        # To look for a flow's process takes some more for a moment.
        wait_until(
            lambda: sum(map(descriptor_count, workers)) == began + 2 * _FLOWS,
            lambda: f"{sum(map(descriptor_count, workers))} descriptors, and {began} before",
        )
        assert clients.do("ping") == {"echoed": _FLOWS}
        assert clients.do("end") == {"whole": _FLOWS}
        wait_until(lambda: sum(map(descriptor_count, workers)) <= began, lambda: "descriptors stay open")
        check_serving(served.port, port)


@pytest.mark.timeout(180)
def test_one_process_has_as_many_as_there_are_descriptors_and_none_is_left_of_them(
    backend: str, tmp_path: Path
) -> None:
    count = min(_FLOWS, (descriptor_limit() - _BESIDE_FLOWS) // 2)
    with (
        mass_origin() as (_, port),
        serve(tmp_path, "--backend", backend, log=False) as served,
        mass_clients(served.port, port) as clients,
    ):
        began_bytes = resident_bytes(served.process.pid)

        def open_use_and_end() -> None:
            assert clients.do(f"open {count}") == {"granted": count}
            assert clients.do("ping") == {"echoed": count}
            assert resident_bytes(served.process.pid) - began_bytes < count * _MAX_FLOW_BYTES
            assert clients.do("end") == {"whole": count}

        Steady(served, port).check(open_use_and_end, may_grow_bytes=count * 512)  # a tenth of what flows take
