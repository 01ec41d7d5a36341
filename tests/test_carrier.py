"""What the carrier of a flow's bytes makes of their ends."""

from __future__ import annotations

import socket

import pytest

from relay.driver.carrier import Carrier
from relay.events import Side
from relay.net.kernel_leg import KernelLeg
from relay.net.pump import Outcome
from support.bench import Owner, open_engine, socket_pair
from support.origins import reset

pytestmark = pytest.mark.anyio


def run_both(carrier: Carrier) -> list[Outcome]:
    return [carrier.run(carrier.from_near), carrier.run(carrier.from_far)]


async def test_a_rst_behind_a_fin_is_reported_again() -> None:
    near, near_peer = socket_pair()
    far, far_peer = socket_pair()
    async with open_engine() as (engine, _):
        legs = [KernelLeg(engine, near, Side.INTERNAL, Owner()), KernelLeg(engine, far, Side.EXTERNAL, Owner())]
        carrier = Carrier(*legs)
        for peer, expected in ((near_peer, Outcome.FINISHED), (near_peer, Outcome.BROKEN)):
            if expected is Outcome.FINISHED:
                peer.shutdown(socket.SHUT_WR)
            else:
                reset(peer)
            legs[0].readable = True
            assert run_both(carrier) == [expected, Outcome.WAITING]
        for _ in range(3):
            assert run_both(carrier) == [Outcome.BROKEN, Outcome.WAITING]
        far_peer.close()
