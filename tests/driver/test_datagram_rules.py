"""Where the proxy sends no datagrams, though it may open connections there."""

from __future__ import annotations

from typing import Any, cast

import pytest

from relay.address import Endpoint
from relay.driver.datagrams import _refusal
from relay.events import Side
from support.memory_driver import MemoryDriver

OWN, GUEST = Endpoint("127.0.0.1", 5000), Endpoint("192.168.127.2", 53)


class GuestDialler:
    """Reaches one guest."""

    def reaches(self, destination: Endpoint, side: Side) -> bool:
        return destination == GUEST


@pytest.mark.parametrize(
    ("target", "why"),
    [
        (OWN, "to the relay itself"),
        (GUEST, "to a guest: the proxy carries no datagrams there"),
        (Endpoint("224.0.0.251", 5353), "to a group"),
        (Endpoint("ff02::fb", 5353), "to a group"),
        (Endpoint("192.0.2.7", 53), ""),
        (OWN._replace(port=5001), ""),
    ],
)
def test_datagrams_go_neither_to_the_relay_nor_to_a_guest_nor_to_a_group(target: Endpoint, why: str) -> None:
    nat = MemoryDriver()
    nat.driver.dial_through(cast("Any", GuestDialler()))
    nat.connector.own_datagram_addresses.add(OWN)
    assert _refusal(nat.driver, target) == why
