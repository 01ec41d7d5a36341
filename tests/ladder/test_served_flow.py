"""Ladders of flows that a relay has served: what its own log has is enough for them."""

from __future__ import annotations

import pytest

from relay.ladder import Kind, Step, runs_of
from relay.testing import serve_in_thread
from support.clients import connect
from support.origins import Origin, echo, read_exactly


def opening(steps: list[Step]) -> list[str]:
    return [step.label.partition(" after")[0] for step in steps if step.kind is Kind.OPEN]


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ("external-first", ["socks5 request", "SYN", "SYN-ACK", "connected"]),
        ("internal-first", ["socks5 request", "connected", "SYN", "SYN-ACK"]),
    ],
)
def test_its_handshakes_are_in_the_order_that_the_profile_has(backend: str, order: str, expected: list[str]) -> None:
    with (
        Origin(echo) as origin,
        serve_in_thread("transparent", backend=backend, precomplete_handshake={"order": order}) as nat,
    ):
        with connect(nat, "socks5", origin.host, origin.port) as client:
            client.sendall(b"x" * 1000)
            assert read_exactly(client, 1000) == b"x" * 1000
        nat.wait_for("flow-ended")
        (ladder,) = runs_of(nat.events)[0].ladders
    steps = list(ladder.steps)
    assert opening(steps) == expected
    assert [step.label for step in steps if step.kind is Kind.DATA] == ["1,000 B", "1,000 B"]
    assert [step.kind for step in steps][-1] is Kind.END
    assert not ladder.is_remarkable
