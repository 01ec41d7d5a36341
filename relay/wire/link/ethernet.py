"""IP packets over a link that carries Ethernet frames: headers on and off, ARP, and DHCP where it is wanted.

What is neither IPv4 nor ARP is ignored, and counted by its kind; a frame for other stations is ignored. A packet to a
guest whose station is not known waits for the answer to an ARP request; the next one to the same guest takes its place
(RFC 1122 section 2.3.2.2).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from relay.clock import real_s
from relay.wire.addresses import Addresses
from relay.wire.arp import Arp, Stations, build_arp, parse_arp, vmware_macs
from relay.wire.dhcp import CLIENT_PORT, SERVER_PORT, DhcpServer
from relay.wire.frame import ARP, BROADCAST, IPV4, build_frame, parse_frame
from relay.wire.link._api import Link, Watching
from relay.wire.packet import IPV4_HEADER_BYTES, UDP, Buffer, build_ipv4, build_udp, parse_ipv4, parse_udp

_SOURCE, _DESTINATION = slice(12, 16), slice(16, 20)  # of an IPv4 header
_DATA_OFFSET_AT = 12  # of a TCP header
_MOST_WAITING = 64
_ANYONE = 0xFFFFFFFF
_TTL = 128


class EthernetLink:
    """A link that carries IP packets, over one that carries frames; it owns that one.

    `macs` are the stations of the NAT's own addresses, VMware's by default; with `dhcp` the guests get theirs from it,
    by the clock `now_s`.
    """

    ethernet = False

    def __init__(
        self,
        link: Link,
        addresses: Addresses,
        *,
        macs: Mapping[int, bytes] | None = None,
        dhcp: DhcpServer | None = None,
        now_s: Callable[[], float] = real_s,
    ) -> None:
        self.name = link.name
        self.mtu = link.mtu
        self.offload = link.offload
        self.ignored: Counter[int] = Counter()
        """How many frames were ignored, by the kind of what was in them: 0x86DD is IPv6."""
        self._link = link
        self._server = addresses.dhcp
        self._stations = Stations(addresses, macs if macs is not None else vmware_macs(addresses))
        self._dhcp = dhcp
        self._asks_dhcp = frozenset((_ANYONE, addresses.dhcp) if dhcp is not None else ())
        self._now_s = now_s
        self._waiting: dict[int, tuple[bytes, int | None]] = {}
        self._lost = 0

    @property
    def vouched(self) -> bool:
        return self._link.vouched

    @property
    def dropped(self) -> int:
        return self._link.dropped + self._lost

    def watch(self, engine: Watching, on_readable: Callable[[], None]) -> None:
        self._link.watch(engine, on_readable)

    def receive(self) -> memoryview | None:
        while (datagram := self._link.receive()) is not None:
            frame = parse_frame(datagram)
            if frame is None or not self._stations.is_for_us(frame.destination):
                continue
            packet = frame.payload
            if frame.kind == ARP:
                self._take_arp(packet)
            elif frame.kind != IPV4:
                self.ignored[frame.kind] += 1
            elif len(packet) >= IPV4_HEADER_BYTES:
                self._learn(int.from_bytes(packet[_SOURCE]), frame.source)
                if int.from_bytes(packet[_DESTINATION]) not in self._asks_dhcp or not self._take_dhcp(packet):
                    return packet
        return None

    def send(self, parts: Sequence[Buffer], segment_bytes: int | None = None) -> bool:
        header = parts[0]
        destination = int.from_bytes(header[_DESTINATION])
        mac = self._stations.mac_of(destination)
        if mac is None:
            self._ask_for(destination, b"".join(parts), segment_bytes)
            return True
        source = self._stations.own_mac(int.from_bytes(header[_SOURCE]))
        return self._link.send((build_frame(mac, source, IPV4), *parts), segment_bytes)

    def close(self) -> None:
        self._link.close()

    def _learn(self, address: int, mac: bytes) -> None:
        if self._stations.learn(address, mac) and (waiting := self._waiting.pop(address, None)) is not None:
            packet, segment_bytes = waiting
            headers_bytes = IPV4_HEADER_BYTES
            if segment_bytes is not None:
                headers_bytes += (packet[IPV4_HEADER_BYTES + _DATA_OFFSET_AT] >> 4) * 4
            self.send((packet[:headers_bytes], packet[headers_bytes:]), segment_bytes)

    def _ask_for(self, address: int, packet: bytes, segment_bytes: int | None) -> None:
        """Ask which station has an address, and let a packet to it wait; the one that has waited longest gives way."""
        if address in self._waiting:
            del self._waiting[address]
            self._lost += 1
        elif len(self._waiting) >= _MOST_WAITING:
            del self._waiting[next(iter(self._waiting))]
            self._lost += 1
        self._waiting[address] = packet, segment_bytes
        self._send_arp(BROADCAST, self._stations.question(address))

    def _take_arp(self, payload: memoryview) -> None:
        arp = parse_arp(payload)
        if arp is None:
            return
        self._learn(arp.sender, arp.sender_mac)
        if (reply := self._stations.answer(arp)) is not None:
            self._send_arp(arp.sender_mac, reply)

    def _send_arp(self, destination: bytes, arp: Arp) -> None:
        self._link.send((build_frame(destination, arp.sender_mac, ARP), build_arp(arp)))

    def _take_dhcp(self, packet: memoryview) -> bool:
        """Answer a packet that is for the DHCP server; return whether it is one."""
        ip = parse_ipv4(packet)
        datagram = parse_udp(ip) if ip is not None and ip.protocol == UDP and not ip.is_fragment else None
        if self._dhcp is None or datagram is None or datagram.destination_port != SERVER_PORT:
            return False
        reply = self._dhcp.answer(datagram.payload, self._now_s())
        if reply is not None:
            source, destination, payload = self._server, reply.destination, reply.payload
            udp = build_udp(source, destination, SERVER_PORT, CLIENT_PORT, payload)
            ip_header = build_ipv4(source, destination, UDP, len(udp) + len(payload), ttl=_TTL)
            mac = BROADCAST if destination == _ANYONE else reply.mac
            self._link.send((build_frame(mac, self._stations.own_mac(source), IPV4), ip_header, udp, payload))
            self._learn(reply.leased, reply.mac)
        return True
