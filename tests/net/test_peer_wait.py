"""Where a peer is to connect to, for a client that waits for it, and who counts as that peer."""

from __future__ import annotations

import socket
from typing import cast

import anyio
import pytest

from relay.address import Endpoint
from relay.events import Side
from relay.loop.engine import Engine
from relay.net.abilities import Abilities
from relay.net.kernel_leg import KernelLeg
from relay.net.peer_wait import PeerWait, address_toward
from support.bench import DEADLINE_S, open_engine, socket_pair

LAN, OTHER_LAN, LAN_6 = "192.0.2.1", "192.0.2.9", "2001:db8::1"


@pytest.mark.parametrize(
    ("peer", "client_came_to", "source", "address"),
    [
        (LAN, "127.0.0.1", None, "127.0.0.1"),
        (LAN, "127.0.0.1", OTHER_LAN, "127.0.0.1"),
        (LAN, "::1", None, "127.0.0.1"),
        (LAN_6, "127.0.0.1", None, "::1"),
        (LAN, LAN, OTHER_LAN, OTHER_LAN),
        ("127.0.0.9", LAN, None, "127.0.0.1"),  # by the host's route
        ("127.0.0.9", LAN, LAN_6, "127.0.0.1"),  # a source of another family is none for this peer
        ("255.255.255.255", LAN, None, LAN),  # without a route: where the client has come to
    ],
)
def test_a_peer_comes_by_loopback_by_the_source_or_by_its_route(
    peer: str, client_came_to: str, source: str | None, address: str
) -> None:
    assert address_toward(peer, client_came_to, source) == address


class _Host:
    """A host's providers."""


class Came:
    """Which peers have come, and which were reset."""

    def __init__(self, engine: Engine, *hosts: str) -> None:
        self.engine = engine
        self.abilities = cast("Abilities", _Host())
        self.connected: list[KernelLeg] = []
        self.foreign: list[Endpoint] = []
        self.wait = PeerWait(engine, "127.0.0.1", hosts, self.abilities, self.connected.append, self.foreign.append)

    async def call(self, host: str) -> socket.socket:
        """A connection from this host, once it was looked at."""
        looked_at = len(self.connected) + len(self.foreign)
        peer = socket.create_connection(self.wait.address, DEADLINE_S, source_address=(host, 0))
        with anyio.fail_after(DEADLINE_S):
            while len(self.connected) + len(self.foreign) == looked_at:  # noqa: ASYNC110 - the engine calls
                await anyio.sleep(0.001)
        return peer


@pytest.mark.anyio
async def test_the_first_peer_that_is_wanted_is_handed_over_and_others_are_reset() -> None:
    async with open_engine() as (engine, faults):
        came, other = Came(engine, "127.0.0.2", "127.0.0.3"), Came(engine)
        assert came.wait.address != other.wait.address
        with await came.call("127.0.0.4") as stranger:
            assert came.foreign == [Endpoint(*stranger.getsockname())]
            with pytest.raises(ConnectionResetError):
                stranger.recv(1)
        with await came.call("127.0.0.3") as peer:
            (leg,) = came.connected
            assert leg._abilities is came.abilities
            assert (leg.peer, leg.side, leg.accepted) == (Endpoint(*peer.getsockname()), Side.EXTERNAL, True)
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(came.wait.address, DEADLINE_S)
            leg.close()
        came.wait.close()
        other.wait.close()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(other.wait.address, DEADLINE_S)
    assert not faults


@pytest.mark.anyio
async def test_a_peer_that_has_gone_again_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_engine() as (engine, faults):
        came = Came(engine, "127.0.0.1")
        near, peer = socket_pair()
        with peer, monkeypatch.context() as gone:
            gone.setattr(KernelLeg, "peer", None)
            came.wait._take(near)
            assert near.fileno() < 0
            assert peer.recv(1) == b"", "closed, and not reset"
        assert (came.connected, came.foreign) == ([], [])
        with await came.call("127.0.0.1"):
            came.connected[0].close()
    assert not faults
