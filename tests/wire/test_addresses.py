"""The layout of the NAT's network."""

from __future__ import annotations

import pytest

from relay.wire.addresses import addresses_in
from relay.wire.packet import dotted, undotted


def test_the_places_are_those_of_vmnet8() -> None:
    found = addresses_in("192.168.27.0/24")
    assert [dotted(each) for each in (found.host, found.gateway, found.dns, found.guest, found.dhcp)] == [
        "192.168.27.1",
        "192.168.27.2",
        "192.168.27.2",
        "192.168.27.128",
        "192.168.27.254",
    ]
    assert (dotted(found.mask), dotted(found.broadcast)) == ("255.255.255.0", "192.168.27.255")


def test_an_address_is_in_the_network_or_not() -> None:
    found = addresses_in("10.0.0.0/16")
    assert found.has(undotted("10.0.255.255"))
    assert not found.has(undotted("10.1.0.0"))


@pytest.mark.parametrize("network", ["192.168.27.0/25", "192.168.27.1/24", "fd00::/64", "localnet"])
def test_what_is_no_network_or_too_small_is_refused(network: str) -> None:
    with pytest.raises(ValueError, match=network.partition("/")[0]):
        addresses_in(network)
