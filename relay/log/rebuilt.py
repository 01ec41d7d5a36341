"""The event log as a capture: a listener that makes packets of records, and says that it made them.

It shows each flow as behind a NAT: the app connects to the server itself, without a proxy's handshake. Bytes that
passed are counted, and shown when the next record is made; the log does not have their content. Flows of datagrams are
left out: how many there were, and of which sizes, the log does not have, either.
"""

from __future__ import annotations

from collections.abc import Callable

from relay.address import Endpoint, parse_endpoint
from relay.errors import ConfigError
from relay.log.capture import AddPacket, Capture, Interface, Process
from relay.log.event_log import EventLog
from relay.log.rebuilt_tcp import ACK, FIN, PSH, RST, SYN, RebuiltTcp
from relay.log.record import Record
from relay.log.vocabulary import is_inbound

GUEST = Interface("guest", "app to relay, rebuilt from the relay's event log: no packet of it was captured")
HOST = Interface("host", "relay to server, rebuilt from the relay's event log: no packet of it was captured")

_NOWHERE = Endpoint("0.0.0.0", 0)


class LogCapture:
    """A capture of every flow of the log, from now on; `relay` is this process."""

    def __init__(self, log: EventLog, write: Callable[[bytes], bool], relay: Process) -> None:
        self._clock = log.clock
        self._capture = Capture(write, guest=GUEST, host=HOST, relay=relay, epoch_s=log.started_at)
        log.subscribe(Rebuilder(self._capture.guest, self._capture.host, self._capture.name))

    def begin_anew(self) -> bytes:
        """End the file, and return what the next one begins with; flows go on in it."""
        return self._capture.begin_anew(self._now_s())

    def close(self) -> None:
        """Write how many packets are missing."""
        self._capture.close(self._now_s())

    def _now_s(self) -> float:
        at_s, ahead_s = self._clock.read()
        return at_s - ahead_s


class Rebuilder:
    """A listener of the event log, which adds packets of the guest's side and of the host's, and names of addresses.

    Without `guest` that side is left to what captures it.
    """

    def __init__(self, guest: AddPacket | None, host: AddPacket, name: Callable[[str, str], None]) -> None:
        self._guest = guest
        self._host = host
        self._add_name = name
        self._flows: dict[int, _Flow] = {}

    def __call__(self, record: Record) -> None:
        if record.flow is None:
            return
        if record.event == "name-resolved" and record.fields["answer"] is not None:
            self._name(record.fields["answer"], record.fields["name"])
        if record.event == "flow-opened" and record.fields["via"] != "socks5-udp":
            internal, external = _Side(self._guest, to_peer=False), _Side(self._host, to_peer=True)
            self._flows[record.flow] = _Flow(internal, external, self._add_name)
        if (flow := self._flows.get(record.flow)) is not None:
            flow.take(record)
            if record.event == "flow-ended":
                del self._flows[record.flow]

    def _name(self, answer: str, asked: str) -> None:
        """One of them is an address, the other one its name."""
        address, name = (answer, asked) if Endpoint(answer, 0).ip is not None else (asked, answer)
        if Endpoint(address, 0).ip is not None:
            self._add_name(address, name)


class _Side:
    """One side's connection. `to_peer` is the direction away from the relay, as `outward` has it."""

    def __init__(self, add_packet: AddPacket | None, *, to_peer: bool) -> None:
        self._add_packet = add_packet
        self._tcp: RebuiltTcp | None = None
        self.to_peer = to_peer

    def connect(self, near: Endpoint, peer: Endpoint) -> None:
        """The peer's address, and the relay's own."""
        self._tcp = RebuiltTcp(near, peer) if self.to_peer else RebuiltTcp(peer, near)

    def add(
        self,
        record: Record,
        outward: bool,
        flags: int,
        comment: str = "",
        *,
        earlier_s: float = 0.0,
        missing_bytes: int = 0,
        back_bytes: int = 0,
        tos: int = 0,
    ) -> None:
        """Add a segment: at the time of this record, or so much earlier."""
        if self._tcp is None or self._add_packet is None:
            return
        parts, left_out = self._tcp.segment(outward, flags, missing_bytes=missing_bytes, back_bytes=back_bytes, tos=tos)
        at_s = record.at_s - record.ahead_s - earlier_s
        self._add_packet(parts, at_s, outward, comment, record.process, missing_bytes=left_out)
        if flags & RST:
            self._tcp = None


class _Flow:
    """One flow's two connections."""

    def __init__(self, internal: _Side, external: _Side, name: Callable[[str, str], None]) -> None:
        self._name = name
        self._sides = {"internal": internal, "external": external}
        self._initiator, self._other = internal, external
        self._opened: Record | None = None
        self._carried = (0, 0)

    def take(self, record: Record) -> None:
        """Show what a record tells."""
        self._show_carried(record)
        fields = record.fields
        match record.event:
            case "flow-opened":
                self._open(record)
            case "flow-connected":
                self._connect(record)
            case "dial-failed":
                comment = f"not connected: {fields['failure']} ({fields['detail']})"
                self._begin("")
                self._initiator.add(record, self._initiator.to_peer, RST, comment)
            case "tos-changed":
                comment = f"TOS {fields['old']:#04x} -> {_hex(fields['new'])}; this segment's data is not known"
                self._from_peer(record, PSH, comment, tos=fields["new"] or 0)
            case "keepalive-probe":
                self._from_peer(record, 0, "keepalive probe", back_bytes=1)
            case "probe-sent":
                self._to_peer(record, 0, back_bytes=1)
            case "probe-answered":
                self._from_peer(record, 0, "the answer to the probe")
            case "fin-received":
                self._from_peer(record, FIN)
            case "rst-received":
                self._from_peer(record, RST)
            case "fin-sent":
                self._to_peer(record, FIN)
            case "rst-sent":
                self._to_peer(record, RST)
            case _:
                pass

    def _open(self, record: Record) -> None:
        fields = record.fields
        if is_inbound(fields["via"]):
            self._initiator, self._other = self._other, self._initiator
        self._opened = record
        if _endpoint(fields["destination"]).ip is not None:
            self._begin(fields["destination"])

    def _begin(self, destination: str) -> None:
        """Show the initiator's SYN, once the address that it asks for is known."""
        if (record := self._opened) is not None:
            self._opened = None
            fields, side = record.fields, self._initiator
            side.connect(_endpoint(destination), _endpoint(fields["client"]))
            side.add(record, not side.to_peer, SYN, f"asks for {fields['destination']} via {fields['via']}")

    def _connect(self, record: Record) -> None:
        address = record.fields["address"]
        if self._opened is not None:
            self._name(_endpoint(address).host, _endpoint(self._opened.fields["destination"]).host)
        self._begin(address)
        side, dial_s = self._other, record.fields["dial_s"]
        side.connect(_endpoint(record.fields["local"]), _endpoint(address))
        side.add(record, side.to_peer, SYN, earlier_s=dial_s)
        side.add(record, not side.to_peer, SYN)
        side.add(record, side.to_peer, ACK)
        side = self._initiator
        side.add(record, side.to_peer, SYN, f"the other side was connected in {dial_s * 1000:.1f} ms")
        side.add(record, not side.to_peer, ACK)

    def _show_carried(self, record: Record) -> None:
        ways = ((True, ("internal", "external")), (False, ("external", "internal")))
        for (outward, sides), before, now in zip(ways, self._carried, record.carried, strict=True):
            if (count := now - before) > 0:
                comment = f"{count} B since the last packet; the event log does not have their content"
                for side in sides:
                    self._sides[side].add(record, outward, PSH, comment, missing_bytes=count)
        self._carried = record.carried

    def _from_peer(self, record: Record, flags: int, comment: str = "", *, back_bytes: int = 0, tos: int = 0) -> None:
        side = self._sides[record.fields["side"]]
        side.add(record, not side.to_peer, flags, comment, back_bytes=back_bytes, tos=tos)

    def _to_peer(self, record: Record, flags: int, *, back_bytes: int = 0) -> None:
        side = self._sides[record.fields["side"]]
        side.add(record, side.to_peer, flags, record.fields["because"], back_bytes=back_bytes)


def _endpoint(text: str | None) -> Endpoint:
    """The address in a record; nowhere if it is none."""
    try:
        return parse_endpoint(text or "", where="")
    except ConfigError:
        return _NOWHERE


def _hex(byte: int | None) -> str:
    return f"{byte:#04x}" if byte is not None else "another"
