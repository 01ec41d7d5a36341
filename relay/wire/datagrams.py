"""What is not TCP: the guest's UDP and ICMP, each to its own part of the NAT, once its fragments are put together.

UDP to the name server    `relay.wire.host.name_server`
UDP to another host       `relay.wire.host.udp_sockets`
ICMP                      `relay.wire.host.ping_sockets`, or answered here if the address is the NAT's own
"""

from __future__ import annotations

from collections import Counter

from relay.loop.engine import Engine
from relay.stack import Stack
from relay.wire.fragments import Fragments
from relay.wire.host.name_server import NameServer
from relay.wire.host.outside import SendToGuest
from relay.wire.host.ping_sockets import PingAccess, PingSockets
from relay.wire.host.udp_sockets import UdpSockets
from relay.wire.host.view import NO_VIEW, View
from relay.wire.icmp import IcmpNat
from relay.wire.mappings import End
from relay.wire.packet import ICMP, UDP, Ipv4, parse_icmp, parse_udp
from relay.wire.reach import Reach
from relay.wire.udp import UdpNat


class Datagrams:
    """Carries them; what cannot be carried is dropped, and counted by reason."""

    def __init__(
        self,
        engine: Engine,
        stack: Stack,
        reach: Reach,
        names: NameServer,
        send: SendToGuest,
        access: PingAccess,
        view: View = NO_VIEW,
    ) -> None:
        self._dropped: Counter[str] = Counter()
        self._engine = engine
        self._reach = reach
        self._names = names
        self._send = send
        self._view = view
        self._fragments = Fragments()
        udp = UdpNat(idle_s=stack.udp_idle_s, port_unreachable=stack.port_unreachable)
        self._icmp = IcmpNat(code=stack.echo_code)
        self._udp_sockets = UdpSockets(engine, udp, reach, send, view)
        self._ping_sockets = PingSockets(engine, self._icmp, reach, send, access, view)

    @property
    def dropped(self) -> Counter[str]:
        """How many were dropped so far, by reason."""
        return self._dropped + self._udp_sockets.dropped + self._ping_sockets.dropped

    def on_packet(self, ip: Ipv4) -> None:
        """Take in a packet that is not TCP, or a fragment of one."""
        if ip.is_fragment:
            whole = self._fragments.take(ip, self._engine.now_s())
            if whole is None:
                return
            ip = whole
        if ip.protocol == UDP:
            self._on_udp(ip)
        elif ip.protocol == ICMP:
            self._on_icmp(ip)
        else:
            self._dropped[f"protocol {ip.protocol}"] += 1

    def close(self) -> None:
        """Close every socket; harmless when repeated."""
        self._udp_sockets.close()
        self._ping_sockets.close()

    def _on_udp(self, ip: Ipv4) -> None:
        udp = parse_udp(ip)
        if udp is None:
            self._dropped["malformed"] += 1
        elif self._reach.is_name_server(ip.destination, udp.destination_port):
            self._names.on_datagram(ip, udp)
        elif self._reach.ends_here(ip.destination):
            self._dropped["no such port here"] += 1
        else:
            self._udp_sockets.on_datagram(ip, udp)

    def _on_icmp(self, ip: Ipv4) -> None:
        icmp = parse_icmp(ip)
        if icmp is None:
            self._dropped["malformed"] += 1
        elif not self._reach.ends_here(ip.destination):
            self._ping_sockets.on_message(ip, icmp)
        elif (packet := self._icmp.own_reply(ip, icmp)) is not None:
            self._view.begin(ICMP, End(ip.source, icmp.ident))
            self._send(*packet)
