"""A capture of a guest's link, in which each packet says whose flow it belongs to, and which behaviour it is by.

The event log waits until a new flow's process is known, so it knows this later than the packet passes. The packets
wait for it, for `HOLD_S` at most. Those of the host's side, which are rebuilt from the log or from what passed through
a socket, wait among them, in the order of their times. Where more than `_MOST_BYTES` wait, the first are written.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Sequence
from typing import NamedTuple

from relay.address import parse_endpoint
from relay.errors import ConfigError
from relay.log import EventLog, Record
from relay.log.capture import Capture, Interface, Process
from relay.log.rebuilt import Rebuilder
from relay.wire.captured_sockets import CapturedSockets
from relay.wire.icmp import ECHO_REPLY, ECHO_REQUEST
from relay.wire.link._api import Watching
from relay.wire.mappings import End
from relay.wire.packet import (
    ICMP,
    ICMP_HEADER_BYTES,
    TCP,
    UDP,
    UDP_HEADER_BYTES,
    Buffer,
    Ipv4,
    parse_ipv4,
    undotted,
)
from relay.wire.segment import FIN, RST

HOLD_S = 0.3  # longer than a look-up of a process may take
_MOST_BYTES = 16 << 20
_DEED_S = 0.02  # between a behaviour's deed and the packet that it is
_MOST_ENDS = 65_536  # of the guest's that are remembered
_FLAGS_AT = 13  # of a TCP header
_LEAST_BYTES = {TCP: _FLAGS_AT + 1, UDP: UDP_HEADER_BYTES, ICMP: ICMP_HEADER_BYTES}
_GUEST = Interface("guest", "the guest's link: every IP packet, as it came and as it was sent")
_HOST = Interface(
    "host",
    "relay to servers, rebuilt: connections from the relay's event log, datagrams and DNS from what its sockets sent "
    "and received; no packet was captured",
)


class _Deed(NamedTuple):
    """What a behaviour did toward the guest, or the change of the TOS byte that made it act."""

    at_s: float
    outward: bool
    flags: int
    tos: int | None
    comment: str

    def is_of(self, at_s: float, outward: bool, flags: int, tos: int) -> bool:
        """Whether a packet is what was done, or what it was done for."""
        if abs(at_s - self.at_s) > _DEED_S or outward != self.outward:
            return False
        return tos == self.tos if self.tos is not None else flags & self.flags != 0


class _Flow:
    """What the event log has of a flow."""

    def __init__(self) -> None:
        self.process: Process | None = None
        self.deeds: list[_Deed] = []


class _Waiting(NamedTuple):
    """A packet that waits; by these, in order, they are sorted."""

    at_s: float
    number: int
    parts: Sequence[Buffer]
    outward: bool
    comment: str | None
    """None: it is of the guest's side, and to be found out."""
    process: Process | None
    missing_bytes: int


class WireCapture:
    """Captures a link (see `relay.wire.link.tapped`), and the host's side of what passes there.

    `write` is that of `relay.log.capture.Capture`.
    """

    def __init__(self, log: EventLog, write: Callable[[bytes], bool], relay: Process) -> None:
        self._clock = log.clock
        self._capture = Capture(write, guest=_GUEST, host=_HOST, relay=relay, epoch_s=log.started_at)
        self._waiting: list[_Waiting] = []
        self._waiting_bytes = 0
        self._count = itertools.count()
        self._flows: dict[int, _Flow] = {}
        self._by_guest: dict[End, _Flow] = {}
        self._engine: Watching | None = None
        self._due = False
        self._sockets = sockets = CapturedSockets(self._on_host_packet, self._now_s)
        # What host sockets show; see `relay.wire.host.view.HostTap`.
        self.own, self.on_datagram, self.open_stream = sockets.own, sockets.on_datagram, sockets.open_stream
        self.name = self._capture.name
        log.subscribe(self._on_record)
        log.subscribe(Rebuilder(None, self._on_host_packet, self.name))

    def begin(self, engine: Watching) -> None:
        self._engine = engine

    def on_packet(self, packet: bytes, outward: bool) -> None:
        self._add(_Waiting(self._now_s(), next(self._count), (packet,), outward, None, None, 0))

    def begin_anew(self) -> bytes:
        """End the file, and return what the next one begins with; what waits comes into that one."""
        return self._capture.begin_anew(self._now_s())

    def close(self) -> None:
        """Write what waits, and how many packets are missing."""
        self._write_until(float("inf"))
        self._capture.close(self._now_s())

    def _on_host_packet(
        self,
        packet_parts: Sequence[Buffer],
        at_s: float,
        outward: bool,
        comment: str = "",
        process: Process | None = None,
        *,
        missing_bytes: int = 0,
    ) -> None:
        self._add(_Waiting(at_s, next(self._count), packet_parts, outward, comment, process, missing_bytes))

    def _add(self, waiting: _Waiting) -> None:
        heapq.heappush(self._waiting, waiting)
        self._waiting_bytes += sum(map(len, waiting.parts))
        while self._waiting_bytes > _MOST_BYTES:
            self._write_first()
        if not self._due and self._engine is not None:
            self._due = True
            self._engine.call_later(HOLD_S, self._on_due)

    def _on_due(self) -> None:
        self._due = False
        self._write_until(self._now_s() - HOLD_S)
        if self._waiting and self._engine is not None:
            self._due = True
            self._engine.call_later(HOLD_S, self._on_due)

    def _write_until(self, until_s: float) -> None:
        while self._waiting and self._waiting[0].at_s <= until_s:
            self._write_first()

    def _write_first(self) -> None:
        at_s, _, parts, outward, comment, process, missing_bytes = heapq.heappop(self._waiting)
        self._waiting_bytes -= sum(map(len, parts))
        if comment is None:
            comment, process = self._found_out(at_s, parts, outward)
            self._capture.guest(parts, at_s, outward, comment, process)
        else:
            self._capture.host(parts, at_s, outward, comment, process, missing_bytes=missing_bytes)

    def _found_out(self, at_s: float, parts: Sequence[Buffer], outward: bool) -> tuple[str, Process | None]:
        """What is known of a packet on the guest's side."""
        ip = parse_ipv4(memoryview(parts[0]))
        if ip is None or ip.is_fragment or (end := _guest_of(ip, outward)) is None:
            return "", None
        flow = self._by_guest.get(end) if ip.protocol == TCP else None
        if flow is None:
            return "", self._sockets.owner_of(ip.protocol, end)
        flags = ip.payload[_FLAGS_AT]
        comments = [deed.comment for deed in flow.deeds if deed.is_of(at_s, outward, flags, ip.tos)]
        return ", ".join(comments), flow.process

    def _on_record(self, record: Record) -> None:
        if record.flow is None:
            return
        if record.event == "flow-opened":
            self._flows[record.flow] = _Flow()
        flow = self._flows.get(record.flow)
        if flow is None:
            return
        flow.process = record.process or flow.process
        fields, at_s = record.fields, record.at_s - record.ahead_s
        match record.event, fields.get("side"):
            case "flow-opened", _:
                self._know_guest(flow, fields["client"])
            case "flow-connected", _:
                self._know_guest(flow, fields["address"])  # if it is an inbound one
            case "rst-sent", "internal":
                flow.deeds.append(_Deed(at_s, False, RST, None, fields["because"]))
            case "fin-sent", "internal":
                flow.deeds.append(_Deed(at_s, False, FIN, None, fields["because"]))
            case "tos-changed", "internal" if fields["new"] is not None:
                comment = f"TOS {fields['old']:#04x} -> {fields['new']:#04x}"
                flow.deeds.append(_Deed(at_s, True, 0, fields["new"], comment))
            case "flow-ended", _:
                del self._flows[record.flow]  # its last packets find it by the guest's end
            case _:
                pass

    def _know_guest(self, flow: _Flow, text: str) -> None:
        """This may be the guest's end of a flow."""
        try:
            end = parse_endpoint(text, where="")
            guest = End(undotted(end.host), end.port)
        except (ConfigError, ValueError):
            return  # not a guest's: a name, or an IPv6 address
        if self._by_guest.pop(guest, None) is None and len(self._by_guest) >= _MOST_ENDS:
            del self._by_guest[next(iter(self._by_guest))]
        self._by_guest[guest] = flow

    def _now_s(self) -> float:
        at_s, ahead_s = self._clock.read()
        return at_s - ahead_s


def _guest_of(ip: Ipv4, outward: bool) -> End | None:
    """The guest's end: of TCP or UDP a port, of an echo its identifier."""
    payload, address = ip.payload, ip.source if outward else ip.destination
    if len(payload) >= _LEAST_BYTES.get(ip.protocol, 0) > 0:
        if ip.protocol != ICMP:
            return End(address, int.from_bytes(payload[:2] if outward else payload[2:4]))
        if payload[0] in {ECHO_REQUEST, ECHO_REPLY}:
            return End(address, int.from_bytes(payload[4:6]))
    return None
