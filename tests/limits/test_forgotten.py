"""What a flow held is given back when it is over, not when the garbage collector happens to pass."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from relay.driver.flow import Flow
from relay.net.kernel_leg import KernelLeg
from relay.testing import RunningRelay, serve_in_thread
from support.clients import Refused, connect_by_port
from support.masses import wait_until
from support.origins import Origin, echo, read_exactly, refusing_port, reset


@pytest.fixture
def _no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def end_a_flow(nat: RunningRelay, origin: Origin, end: str) -> None:
    if end == "refused":
        with refusing_port() as port, pytest.raises(Refused):
            connect_by_port(nat.address.port, "127.0.0.1", port).close()
        return
    with connect_by_port(nat.address.port, "127.0.0.1", origin.port) as sock:
        sock.sendall(b"x")
        assert read_exactly(sock, 1) == b"x"
        if end == "rst":
            reset(sock)
        if end == "link-down":
            nat.link_down()
            with pytest.raises(ConnectionResetError):
                sock.recv(1)


@pytest.mark.usefixtures("_no_collector")
@pytest.mark.parametrize("end", ["fin", "rst", "link-down", "refused"])
def test_a_flow_that_is_over_is_forgotten_at_once(end: str, backend: str) -> None:
    with Origin(echo) as origin, serve_in_thread(backend=backend) as nat:
        end_a_flow(nat, origin, end)
        nat.wait_for("flow-ended")
        wait_until(
            lambda: not any(isinstance(each, Flow | KernelLeg) for each in gc.get_objects()),
            lambda: f"there is still {[each for each in gc.get_objects() if isinstance(each, Flow | KernelLeg)]}",
            timeout_s=3.0,  # less than what a timer of a leg's may hold it
        )
