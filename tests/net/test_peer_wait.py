"""Where a peer is to connect to, for a client that waits for it."""

from __future__ import annotations

import pytest

from relay.net.peer_wait import address_toward

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
