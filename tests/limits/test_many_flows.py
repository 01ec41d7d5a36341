"""Ten thousand flows at once."""

from __future__ import annotations

from pathlib import Path

from support.capabilities import missing
from support.masses import Steady, descriptor_limit, mass_clients, mass_origin, resident_bytes
from support.programs import serve

_FLOWS = 10_000
_BESIDE_FLOWS = 64  # descriptors: the listener, the event loop's, the log's, and of the flow that is tried in between
_MAX_FLOW_BYTES = 16 * 1024  # of the relay's own memory; measured: 5.4 KiB


def flows_possible() -> int:
    """Ten thousand, or the few less for which this host gives a process two descriptors each."""
    possible = min(_FLOWS, (descriptor_limit() - _BESIDE_FLOWS) // 2)
    if possible < 0.99 * _FLOWS:
        missing(f"needs {2 * _FLOWS} descriptors (ulimit -Hn), not {descriptor_limit()}")
    return possible


def test_ten_thousand_flows_are_open_at_once_and_every_one_carries(backend: str, tmp_path: Path) -> None:
    count = flows_possible()
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
