"""ARP for IPv4 over Ethernet (RFC 826): who has which address on the guest's network.

The NAT answers for its own addresses and for no others. It learns a guest's station from each ARP packet, and from each
IPv4 packet, of an address that lies in the network and is not the NAT's.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import NamedTuple

from relay.wire.addresses import Addresses
from relay.wire.frame import BROADCAST, is_group

REQUEST, REPLY = 1, 2
_ARP = struct.Struct(">HHBBH6sI6sI")
_ETHERNET_IPV4 = (1, 0x0800, 6, 4)
_NO_MAC = bytes(6)
_MOST_STATIONS = 4096  # a network may have more addresses, and one guest may claim them all


class Arp(NamedTuple):
    """An ARP packet."""

    operation: int
    sender_mac: bytes
    sender: int
    target_mac: bytes
    target: int


def parse_arp(payload: memoryview) -> Arp | None:
    """Read an ARP packet; None if it is cut off, or of other addresses than Ethernet's and IPv4's."""
    if len(payload) < _ARP.size:
        return None
    *kinds, operation, sender_mac, sender, target_mac, target = _ARP.unpack_from(payload)
    if tuple(kinds) != _ETHERNET_IPV4:
        return None
    return Arp(operation, sender_mac, sender, target_mac, target)


def build_arp(arp: Arp) -> bytes:
    """Return the packet."""
    return _ARP.pack(*_ETHERNET_IPV4, *arp)


class Stations:
    """Which station has which address, ours and the guests'."""

    def __init__(self, addresses: Addresses, own: Mapping[int, bytes]) -> None:
        self._addresses = addresses
        self._own = dict(own)
        self._learnt: dict[int, bytes] = {}
        self._macs = frozenset(own.values())

    def is_for_us(self, destination: bytes) -> bool:
        """Whether a frame to this station is to be looked at."""
        return destination in self._macs or is_group(destination)

    def own_mac(self, address: int) -> bytes:
        """The station that a packet from this address comes from: the gateway's for what lies beyond it."""
        return self._own.get(address) or self._own[self._addresses.gateway]

    def mac_of(self, address: int) -> bytes | None:
        """The guest's station with this address; None if it is not known."""
        if address in {self._addresses.broadcast, 0xFFFFFFFF}:
            return BROADCAST
        return self._learnt.get(address)

    def learn(self, address: int, mac: bytes) -> bool:
        """Remember a guest's station; return whether that is news. What cannot be a guest's is not remembered."""
        if self._learnt.get(address) == mac:
            return False
        known = self._addresses
        if not known.has(address) or address in self._own or address in {known.network, known.broadcast}:
            return False
        if mac in self._macs or is_group(mac) or mac == _NO_MAC:
            return False
        if len(self._learnt) >= _MOST_STATIONS and address not in self._learnt:
            del self._learnt[next(iter(self._learnt))]
        self._learnt[address] = mac
        return True

    def answer(self, arp: Arp) -> Arp | None:
        """Return the reply to a request for one of our addresses; None if there is none to give."""
        mac = self._own.get(arp.target)
        if arp.operation != REQUEST or mac is None or arp.sender == arp.target:
            return None
        return Arp(REPLY, mac, arp.target, arp.sender_mac, arp.sender)

    def question(self, address: int) -> Arp:
        """Return the request for a guest's station."""
        gateway = self._addresses.gateway
        return Arp(REQUEST, self._own[gateway], gateway, _NO_MAC, address)


def vmware_macs(addresses: Addresses) -> dict[int, bytes]:
    """Return the stations of the NAT's own addresses, with VMware's prefix; the host's is that of every vmnet8."""
    return {
        addresses.host: bytes.fromhex("005056c00008"),
        addresses.dhcp: bytes.fromhex("005056f000fe"),
        addresses.dns: bytes.fromhex("005056e00002"),
        addresses.gateway: bytes.fromhex("005056e00002"),
    }
