"""The NAT between one link and the host: a table of connections, and what becomes of each packet of the guest's.

    TCP of a connection     that connection's TCP takes it
    TCP with a SYN          a new connection, pending until the driver has dialled the destination; the name server's
                            is granted at once
    other TCP               answered as a stray, or not at all
    UDP, ICMP               `relay.wire.datagrams`

Pending connections are those whose handshake the guest has not completed. There may be `MAX_PENDING` of them, and as
many as half of the descriptors that the relay may open; then the one that has waited longest makes room. So a scan that
leaves its handshakes half-open locks no other program out.

What the guest sends from another address than a guest's, what has nowhere to go, and what is malformed is dropped, and
counted by reason.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable

from relay.address import MAX_PORT, Endpoint, ResolveOverride
from relay.events import DialFailure
from relay.loop.engine import Engine
from relay.net.descriptors import descriptor_limit
from relay.stack import Stack
from relay.wire import stray
from relay.wire.datagrams import Datagrams
from relay.wire.dialling import GuestDial
from relay.wire.dns.forwarder import Forwarder
from relay.wire.ends import Ends
from relay.wire.guest_network import GuestNetwork
from relay.wire.host.name_server import NameServer
from relay.wire.host.name_settings import NameSettings
from relay.wire.host.ping_sockets import PingAccess
from relay.wire.host.view import NO_VIEW, View
from relay.wire.isn import Isn
from relay.wire.leg import WireLeg
from relay.wire.link import Link
from relay.wire.mappings import End
from relay.wire.owners import Owners
from relay.wire.packet import TCP, Ipv4, is_sound, parse_ipv4
from relay.wire.reach import Reach
from relay.wire.segment import Segment, parse_segment
from relay.wire.tcp import Tcp
from relay.wire.transmitter import Transmitter

MAX_PENDING = 16_384
_SUPER_SEGMENT_BYTES = 65_535 - 60 - 60  # an IP packet's most, without the longest headers
_FIRST_PORT = 49_152  # RFC 6335 section 6: from here on ports are no service's
_BURST = 256  # packets of the guest's in one go, before others have their turn


class Nat:
    """Serves the guest on one link, while it is open."""

    def __init__(
        self,
        engine: Engine,
        link: Link,
        stack: Stack,
        network: GuestNetwork,
        seed: int,
        owners: Owners,
        ping: PingAccess,
        view: View = NO_VIEW,
    ) -> None:
        """`ping` says how this host is asked for echoes; `view` is shown what its sockets send and receive."""
        self.engine = engine
        self._dropped: Counter[str] = Counter()
        self._link = link
        self._stack = stack
        self._reach = Reach(network.addresses, host=network.reaches_host)
        self._isn = Isn(stack, random.Random(f"{seed}/wire").getrandbits)  # noqa: S311 - meant to be repeatable
        self.owners = owners
        self._transmitter = Transmitter(link, stack)
        send = self._transmitter.send
        self._names = NameServer(engine, network.addresses.dns, NameSettings.of(network), Forwarder(), send, view)
        self._datagrams = Datagrams(engine, stack, self._reach, self._names, send, ping, view)
        self._asked: Callable[[WireLeg, Endpoint], None]
        self._connections: dict[Ends, WireLeg] = {}
        self._pending: dict[WireLeg, None] = {}  # in the order in which they asked
        self._dials: dict[WireLeg, GuestDial] = {}
        limit = descriptor_limit()
        self._most_pending = MAX_PENDING if limit is None else max(1, min(MAX_PENDING, limit // 2))
        self._ready: dict[WireLeg, None] = {}  # whose owners are called when the burst is over
        self._in_burst = False
        self._open = False

    def open(self, asked: Callable[[WireLeg, Endpoint], None]) -> None:
        """Begin to serve: call `asked` with each connection that the guest asks for, and with where it is to go."""
        self._asked = asked
        self._open = True
        self._link.watch(self.engine, self._read)

    def close(self) -> None:
        """Take in no new connection, and carry no datagram; harmless when repeated."""
        self._open = False
        self._datagrams.close()
        self._names.close()

    def resolve_as(self, override: ResolveOverride) -> None:
        """Answer a name ourselves from now on."""
        self._names.resolve_as(override)

    @property
    def dropped(self) -> Counter[str]:
        """How many packets were dropped so far, by reason."""
        return self._dropped + self._datagrams.dropped

    # From the guest

    def _read(self) -> None:
        more = self._take_burst()
        ready, self._ready = self._ready, {}
        for leg in ready:
            if not leg.closed:
                leg.owner.on_leg_ready(leg)
        if more:
            self.engine.call_soon(self._read)

    def _take_burst(self) -> bool:
        """Take in what is there; return whether there may be more."""
        self._in_burst = True
        try:
            for _ in range(_BURST):
                packet = self._link.receive()
                if packet is None:
                    return False
                self.on_packet(packet)
        finally:
            self._in_burst = False
        return True

    def on_packet(self, packet: memoryview) -> None:
        """Take in one IPv4 packet of the guest's."""
        ip = parse_ipv4(packet)
        if ip is None:
            self._dropped["malformed"] += 1
        elif not self._reach.may_send(ip.source):
            self._dropped["not from a guest's address"] += 1
        elif not self._reach.may_reach(ip.destination):
            self._dropped["to nowhere"] += 1
        elif ip.protocol == TCP and not ip.is_fragment:
            self._on_tcp(ip)
        elif not self._open:
            self._dropped["late"] += 1
        else:
            self._datagrams.on_packet(ip)

    def _on_tcp(self, ip: Ipv4) -> None:
        parsed = parse_segment(ip.payload, tos=ip.tos) if self._link.vouched or is_sound(ip) else None
        if parsed is None:
            self._dropped["malformed"] += 1
            return
        source_port, destination_port, segment = parsed
        ends = Ends(ip.source, source_port, ip.destination, destination_port)
        leg = self._connections.get(ends)
        if leg is not None and not leg.on_segment(segment):
            return
        reach, asks_names = self._reach, self._reach.is_name_server(ip.destination, destination_port)
        if self._open and stray.opens(segment, self._stack) and (asks_names or not reach.ends_here(ip.destination)):
            leg = self._begin(ends, segment)
            if asks_names:
                leg.grant()
                self._names.serve(leg, End(ends.guest_address, ends.guest_port))
            else:
                self._asked(leg, reach.translated(ends.address, ends.port))
        elif (answer := stray.answer(segment, self._stack)) is not None:
            self._transmitter.send_segment(ends, answer)

    def _begin(self, ends: Ends, syn: Segment) -> WireLeg:
        """Begin with a connection; it is pending."""
        if len(self._pending) >= self._most_pending:
            next(iter(self._pending)).give_up()
        now_s = self.engine.now_s()
        leg = self._add(ends, Tcp.answering(self._stack, syn, self._isn.pick(ends, now_s), now_s))
        self._pending[leg] = None
        return leg

    def _add(self, ends: Ends, tcp: Tcp) -> WireLeg:
        if self._link.offload:
            tcp.set_max_payload(_SUPER_SEGMENT_BYTES)
        leg = self._connections[ends] = WireLeg(self, tcp, ends)
        return leg

    # To the guest

    def reaches(self, destination: Endpoint) -> bool:
        """Whether this is an address that the guest may have."""
        number = _number(destination)
        return number is not None and self._reach.may_send(number)

    def dial(
        self,
        destination: Endpoint,
        client: Endpoint | None,
        timeout_s: float,
        connected: Callable[[WireLeg, Endpoint], None],
        failed: Callable[[DialFailure], None],
    ) -> GuestDial:
        """Open a connection to the guest on behalf of a client; see `relay.frontends.Dialler`."""
        ends, now_s = self._ends_for(destination, client), self.engine.now_s()
        tcp = Tcp.opening(self._stack, self._isn.pick(ends, now_s), now_s)
        leg = self._add(ends, tcp)
        dial = self._dials[leg] = GuestDial(leg, destination, timeout_s, connected, failed)
        leg.dial()
        return dial

    def _ends_for(self, destination: Endpoint, client: Endpoint | None) -> Ends:
        guest = _number(destination)
        assert guest is not None, "see `reaches`"  # noqa: S101
        source = self._reach.source_for(_number(client) if client is not None else None)
        ends = Ends(guest, destination.port, source, client.port if client is not None else _FIRST_PORT)
        while ends in self._connections:
            ends = ends._replace(port=max(_FIRST_PORT, (ends.port + 1) & MAX_PORT))
        return ends

    # What legs need

    def send_segments(self, leg: WireLeg, segments: list[Segment]) -> None:
        for segment in segments:
            self._transmitter.send_segment(leg.ends, segment, leg.tcp.mss)

    def tell_owner(self, leg: WireLeg) -> None:
        # Many segments are one write to the server. But the guest's window is to look as if each were read at once.
        if self._in_burst and leg.tcp.unread_bytes <= self._stack.window // 2:
            self._ready[leg] = None
        else:
            leg.owner.on_leg_ready(leg)

    def on_established(self, leg: WireLeg) -> None:
        self._pending.pop(leg, None)
        if (dial := self._dials.pop(leg, None)) is not None:
            dial.on_established()

    def forget(self, leg: WireLeg) -> None:
        self._pending.pop(leg, None)
        self._dials.pop(leg, None)
        if self._connections.get(leg.ends) is leg:
            del self._connections[leg.ends]


def _number(end: Endpoint) -> int | None:
    """The IPv4 address of an end; None if it has none."""
    ip = end.ip
    return int(ip) if ip is not None and ip.version == 4 else None
