"""A behaviour that raises, in the middle of a load: its flows end and name it, and no other is touched."""

from __future__ import annotations

from pathlib import Path

from support.masses import Steady, mass_clients, mass_origin, wait_until
from support.packages import install_behaviour
from support.programs import serve

_FLOWS = 50
_OTHERS = 20
_BRITTLE = '''
from dataclasses import dataclass

from relay.behaviours import Actions, Behaviour, setting
from relay.events import ConnectRequested, FinReceived


@dataclass
class Brittle(Behaviour):
    """Breaks at the end of a flow to one port."""

    port: int = setting(0, doc="the destination's port")

    def __post_init__(self) -> None:
        self._cursed = False

    def on_connect_requested(self, event: ConnectRequested) -> Actions:
        self._cursed = event.destination.port == self.port
        return ()

    def on_fin_received(self, event: FinReceived) -> Actions:
        if self._cursed:
            raise ZeroDivisionError("on purpose")
        return ()
'''


def test_a_behaviour_that_raises_ends_its_flows_and_no_other(backend: str, tmp_path: Path) -> None:
    packages = install_behaviour(tmp_path / "packages", "brittle", _BRITTLE)
    with mass_origin() as (_, port), mass_origin() as (_, cursed_port):
        options = ("--quiet", "--set", f"brittle.port={cursed_port}")
        with (
            serve(tmp_path, "--backend", backend, *options, PYTHONPATH=packages) as served,
            mass_clients(served.port, port) as others,
            mass_clients(served.port, cursed_port) as clients,
        ):
            ended = 0

            def raise_again_and_again() -> None:
                nonlocal ended
                assert others.do(f"open {_OTHERS}") == {"granted": _OTHERS}
                assert others.do("load") == {"echoed": _OTHERS}
                assert clients.do(f"open {_FLOWS}") == {"granted": _FLOWS}
                assert clients.do("ping") == {"echoed": _FLOWS}
                assert clients.do("end") == {"rst": _FLOWS}
                ended += _FLOWS
                wait_until(
                    lambda: served.count("flow-ended", because="fault:brittle") == ended, lambda: "not all flows ended"
                )
                assert others.do("end") == {"whole": _OTHERS}

            Steady(served, port).check(raise_again_and_again)
            blame = "behaviour 'brittle' failed on FinReceived: ZeroDivisionError: on purpose"
            assert served.count("fault", error=blame) == served.count("fault") == ended
            wait_until(
                lambda: served.count("flow-ended", because="internal-peer") == served.count("flow-ended") - ended,
                lambda: "a flow has ended by something else",
            )
