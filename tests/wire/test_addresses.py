"""The layout of the NAT's network."""

from __future__ import annotations

import re
from dataclasses import replace

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


@pytest.mark.parametrize(
    ("text", "changed"),
    [
        ("", {}),
        (",guest=192.168.27.50", {"guest": "192.168.27.50"}),
        (",guest=.50,dhcp=.1,host=.254", {"guest": "192.168.27.50", "dhcp": "192.168.27.1", "host": "192.168.27.254"}),
        (",gateway=.3", {"gateway": "192.168.27.3", "dns": "192.168.27.3"}),
        (",gateway=.3,dns=.4", {"gateway": "192.168.27.3", "dns": "192.168.27.4"}),
        (",dns=.4,gateway=.3", {"gateway": "192.168.27.3", "dns": "192.168.27.4"}),
    ],
)
def test_every_address_may_be_given(text: str, changed: dict[str, str]) -> None:
    usual = addresses_in("192.168.27.0/24")
    expected = replace(usual, **{name: undotted(address) for name, address in changed.items()})
    assert addresses_in("192.168.27.0/24" + text) == expected


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("192.168.27.0/25", "192.168.27.0/25 has fewer than 256 addresses"),
        ("192.168.27.1/24", "192.168.27.1/24 has host bits set"),
        ("fd00::/64", "'fd00::/64' is not an IPv4 network"),
        ("localnet", "'localnet' is not an IPv4 network"),
        ("10.0.0.0/33", "'10.0.0.0/33' is not an IPv4 network"),
        ("", "'' is not an IPv4 network"),
        ("127.0.1.0/24", "no station has an address in 127.0.0.0/8, which 127.0.1.0/24 overlaps"),
        ("224.0.0.0/24", "no station has an address in 224.0.0.0/3, which 224.0.0.0/24 overlaps"),
        ("0.0.0.0/0", "no station has an address in 0.0.0.0/8, which 0.0.0.0/0 overlaps"),
        ("192.168.27.0/24,", "'' is none of guest=ADDRESS, "),
        ("192.168.27.0/24,gast=.5", "'gast=.5' is none of guest=ADDRESS, "),
        ("192.168.27.0/24,guest", "'guest' is none of guest=ADDRESS, "),
        ("192.168.27.0/24,guest=", "guest: '' is not an IPv4 address"),
        ("192.168.27.0/24,guest=.x", "guest: '.x' is not an IPv4 address"),
        ("192.168.27.0/24,guest=.256", "guest 192.168.28.0 is no address of a station in the network"),
        ("192.168.27.0/24,guest=.0", "guest 192.168.27.0 is no address of a station in the network"),
        ("192.168.27.0/24,dhcp=.255", "dhcp 192.168.27.255 is no address of a station in the network"),
        ("192.168.27.0/24,guest=.1", "guest and host are both 192.168.27.1"),
        ("192.168.27.0/24,gateway=.254", "gateway and dhcp are both 192.168.27.254"),
    ],
)
def test_what_cannot_be_is_named(text: str, told: str) -> None:
    with pytest.raises(ValueError, match=re.escape(told)):
        addresses_in(text)
