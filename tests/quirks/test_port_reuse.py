"""A client offends, resets, and another uses its port at once: the second has done nothing."""

from __future__ import annotations

import pytest

from quirks.test_tos_reset import OBSERVERS, set_tos
from relay.testing import serve_in_thread
from support.capabilities import need_root
from support.clients import connect_from
from support.origins import Origin, echo, read_exactly, reset

TIMES = 50


@pytest.fixture(params=OBSERVERS)
def observer(request: pytest.FixtureRequest) -> str:
    need_root()
    name: str = request.param
    return name


def test_an_offence_ends_with_the_connection_that_committed_it(backend: str, observer: str) -> None:
    with Origin(echo) as origin, serve_in_thread("vmware-fusion", backend=backend, observer=observer) as nat:
        forward = nat.forward(origin.host, origin.port)
        for _ in range(TIMES):
            with connect_from(0, forward) as offender:
                port = offender.getsockname()[1]
                set_tos(offender, 0x48)
                offender.send(b"offence")
                reset(offender)
            with connect_from(port, forward) as innocent:
                innocent.sendall(b"x")
                assert read_exactly(innocent, 1) == b"x"
                reset(innocent)
