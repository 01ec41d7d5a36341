"""Origins and clients that die under load, killed as a crash kills: their flows end, and no other."""

from __future__ import annotations

from pathlib import Path

from support.masses import Steady, mass_clients, mass_origin, wait_until
from support.programs import ServedRelay, serve

_FLOWS = 200
_OTHERS = 4


def wait_for_ends(served: ServedRelay, because: str, count: int) -> None:
    """Until so many flows have ended because of this."""
    wait_until(
        lambda: served.count("flow-ended", because=because) == count,
        lambda: f"{served.count('flow-ended', because=because)} of {count} flows have ended by {because}",
    )


def test_when_an_origin_dies_its_flows_end_and_no_other(backend: str, tmp_path: Path) -> None:
    with (
        mass_origin() as (_, healthy_port),
        serve(tmp_path, "--backend", backend, "--quiet") as served,
        mass_clients(served.port, healthy_port) as others,
    ):

        def lose_the_origin() -> None:
            ended = served.count("flow-ended", because="external-peer")
            with mass_origin() as (origin, port), mass_clients(served.port, port) as clients:
                assert others.do(f"open {_OTHERS}") == {"granted": _OTHERS}
                assert others.do("load") == {"echoed": _OTHERS}
                assert clients.do(f"open {_FLOWS}") == {"granted": _FLOWS}
                assert clients.do("load") == {"echoed": _FLOWS}
                origin.kill()
                told = clients.do("ended")
                assert set(told) <= {"fin", "rst"}
                assert sum(told.values()) == _FLOWS
                wait_for_ends(served, "external-peer", ended + _FLOWS)
                assert others.do("end") == {"whole": _OTHERS}

        Steady(served, healthy_port).check(lose_the_origin)


def test_when_clients_die_their_flows_end_and_no_other(backend: str, tmp_path: Path) -> None:
    with (
        mass_origin() as (_, port),
        serve(tmp_path, "--backend", backend, "--quiet") as served,
        mass_clients(served.port, port) as others,
    ):

        def lose_the_clients() -> None:
            died = served.count("rst-received", side="internal")
            with mass_clients(served.port, port) as clients:
                assert others.do(f"open {_OTHERS}") == {"granted": _OTHERS}
                assert others.do("load") == {"echoed": _OTHERS}
                assert clients.do(f"open {_FLOWS}") == {"granted": _FLOWS}
                assert clients.do("load") == {"echoed": _FLOWS}
                clients.kill()
            wait_until(lambda: served.count("rst-received", side="internal") > died, lambda: "no client was killed")
            wait_until(
                lambda: served.count("flow-ended") == served.count("flow-opened") - _OTHERS, lambda: "not all ended"
            )
            assert others.do("end") == {"whole": _OTHERS}
            wait_for_ends(served, "internal-peer", served.count("flow-opened"))

        Steady(served, port).check(lose_the_clients)
