"""Records made of a capture's segments: what an event log of the same flows would have, as far as packets show it.

A flow is a connection on the guest's side and the one on the host's side that belongs to it: dialled (or, inbound,
come) at about that time, for the same process and destination; of several that fit, the first. Why a flow ended is not
in packets: it is concluded from its first FIN or RST. Who had one sent is in the packet's comment, as are changes of
the TOS byte and keepalive probes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from relay.address import Endpoint
from relay.log import FIELDS, Record
from relay.log.captured import Captured, CaptureReader
from relay.log.reading import Problem
from relay.log.rebuilt_tcp import ACK, FIN, RST, SYN

_ASKS = re.compile(r"asks for (.*) via (\S+)$")
_TOS = re.compile(r"TOS 0x([0-9a-f]{2}) -> (?:0x([0-9a-f]{2})|another)")
_REFUSED = re.compile(r"not connected: (.*?)(?: \((.*)\))?$")
_SIDES: Mapping[str, str] = {"guest": "internal", "host": "external"}
_OTHER: Mapping[str, str] = {"guest": "host", "host": "guest"}
_MATCHED_S = 120.0  # between a flow's two SYNs, at most: as long as any dial takes
_MOST_ENDS = 65_536  # of connections that are remembered
_MOST_UNMATCHED = 1000  # connections in which another's other side is looked for


@dataclass(slots=True)
class _Way:
    """One direction of a connection."""

    next_seq: int | None = None
    first_seq: int = 0
    """Of its data."""
    bytes: int = 0
    acknowledged_bytes: int = 0
    finished: bool = False

    def take(self, segment: Captured) -> None:
        """Count what is new in it; SYN and FIN are numbered, too."""
        flags = bool(segment.flags & SYN) + bool(segment.flags & FIN)
        size = segment.data_bytes + flags
        end = segment.seq + size
        if self.next_seq is None:
            self.next_seq = segment.seq
            self.first_seq = segment.seq + bool(segment.flags & SYN)
        ahead = (end - self.next_seq) & 0xFFFFFFFF
        if 0 < ahead < 1 << 31:
            self.bytes += max(0, ahead - flags)
            self.next_seq = end & 0xFFFFFFFF

    def acknowledge(self, segment: Captured) -> None:
        """Count what a segment of the other direction acknowledges."""
        count = (segment.ack - self.first_seq) & 0xFFFFFFFF
        if segment.flags & ACK and self.next_seq is not None and count < 1 << 31:
            self.acknowledged_bytes = max(self.acknowledged_bytes, min(count, self.bytes))


@dataclass(slots=True)
class _Connection:
    """One side's connection. `ways` are by direction: inward, outward."""

    began_s: float
    from_peer: bool
    """Whether its peer opened it, not the relay."""
    ways: tuple[_Way, _Way] = field(default_factory=lambda: (_Way(), _Way()))
    answered: bool = False
    over: bool = False

    @property
    def is_done(self) -> bool:
        return self.over or all(way.finished for way in self.ways)


@dataclass(slots=True)
class _Flow:
    number: int
    destination: Endpoint
    process: tuple[int, str] | None
    sides: dict[str, _Connection] = field(default_factory=dict)
    initiator: str = "guest"
    opened_s: float = 0.0
    granted_s: float | None = None
    cause: str = ""
    closed: bool = False
    """Whether its end was shown."""
    ended: dict[str, str] = field(default_factory=dict)
    because: dict[str, str] = field(default_factory=dict)

    @property
    def carried(self) -> tuple[int, int]:
        """What passed on to each side: what the host's side shows of the one, and the guest's of the other.

        Segments that are rebuilt come late. So what the NAT has acknowledged to the app counts as well.
        """
        guest, host = self.sides.get("guest"), self.sides.get("host")
        out = max(host.ways[True].bytes if host else 0, guest.ways[True].acknowledged_bytes if guest else 0)
        return out, (guest or next(iter(self.sides.values()))).ways[False].bytes

    @property
    def is_connected(self) -> bool:
        """Whether both sides have a connection."""
        return len(self.sides) > 1

    @property
    def is_over(self) -> bool:
        return bool(self.sides) and all(connection.is_done for connection in self.sides.values())


class PacketReader:
    """An iterator over the records that a capture comes to; has what `relay.log.reading.RecordReader` has."""

    def __init__(self, stream: BinaryIO) -> None:
        self._capture = CaptureReader(stream)
        self.record_count = 0

    def __iter__(self) -> Iterator[Record]:
        flows = _Flows()
        for segment in self._capture:
            for record in flows.records(segment):
                self.record_count += 1
                yield record

    @property
    def problems(self) -> Sequence[Problem]:
        return self._capture.problems

    @property
    def problem_count(self) -> int:
        return self._capture.problem_count


class _Flows:
    """The flows of a capture, so far."""

    def __init__(self) -> None:
        self._began_s: float | None = None
        self._count = 0
        self._by_ends: dict[tuple[str, Endpoint, Endpoint], _Flow] = {}
        self._unmatched: list[_Flow] = []

    def records(self, segment: Captured) -> Iterator[Record]:
        """What this segment tells."""
        if self._began_s is None:
            self._began_s = segment.at_s
        inner, outer = segment.source, segment.destination
        if not segment.outward:
            inner, outer = outer, inner
        key = (segment.side, inner, outer)
        flow = self._by_ends.get(key)
        begins = segment.flags & (SYN | ACK) == SYN
        if flow is not None and flow.closed and not begins:
            return  # its last acknowledgement, or a retransmission
        if flow is None or (begins and flow.sides[segment.side].is_done):
            if not begins and segment.flags & RST:
                return  # an answer to what belongs to no connection
            flow = self._begin(segment, outer)
            self._remember(key, flow)
            if begins and segment.side == flow.initiator:
                yield self._record(flow, segment, "flow-opened", **self._asked(flow, segment))
        flow.process = flow.process or segment.process
        yield from self._shown(flow, segment)
        if flow.is_over and flow.cause:
            flow.closed = True
            yield self._end(flow, segment)

    def _remember(self, key: tuple[str, Endpoint, Endpoint], flow: _Flow) -> None:
        self._by_ends.pop(key, None)
        if len(self._by_ends) >= _MOST_ENDS:
            del self._by_ends[next(iter(self._by_ends))]
        self._by_ends[key] = flow

    def _begin(self, segment: Captured, server: Endpoint) -> _Flow:
        """The flow that a new connection belongs to: one that waits for its other side, or a new one."""
        from_peer = segment.outward == (segment.side == "guest")
        connection = _Connection(segment.at_s, from_peer)
        flow = None if from_peer else self._waiting(segment, server)
        if flow is None:
            self._count += 1
            initiator = segment.side if from_peer else _OTHER[segment.side]
            flow = _Flow(self._count, server, segment.process, initiator=initiator, opened_s=segment.at_s)
            self._unmatched = [*self._unmatched[-_MOST_UNMATCHED:], flow]
        flow.sides[segment.side] = connection
        return flow

    def _waiting(self, segment: Captured, server: Endpoint) -> _Flow | None:
        found = [
            flow
            for flow in self._unmatched
            if segment.side not in flow.sides
            and segment.at_s - flow.opened_s <= _MATCHED_S
            and (segment.process is None or flow.process in {None, segment.process})
        ]
        best = max(
            found, key=lambda flow: (flow.destination == server, flow.destination.port == server.port), default=None
        )
        if best is not None:
            self._unmatched.remove(best)
        return best

    def _asked(self, flow: _Flow, segment: Captured) -> dict[str, Any]:
        asks = _ASKS.search(segment.comment)
        if asks is not None:
            destination, via = asks.groups()
        else:
            destination, via = str(flow.destination), "wire" if flow.initiator == "guest" else "inbound"
        client = segment.source
        return {"via": via, "client": str(client), "destination": destination}

    def _shown(self, flow: _Flow, segment: Captured) -> Iterator[Record]:
        """What it tells of a flow."""
        side = segment.side
        connection, from_peer = flow.sides[side], segment.outward == (segment.side == "guest")
        way = connection.ways[segment.outward]
        way.take(segment)
        connection.ways[not segment.outward].acknowledge(segment)
        if segment.flags & SYN and segment.flags & ACK and not connection.answered:
            connection.answered = True
            if side == flow.initiator:
                flow.granted_s = segment.at_s
            else:
                local, address = segment.destination, segment.source
                fields = {"address": str(address), "local": str(local), "dial_s": segment.at_s - connection.began_s}
                yield self._record(flow, segment, "flow-connected", **fields)
        if (tos := _TOS.match(segment.comment)) is not None:
            old, new = (None if digits is None else int(digits, 16) for digits in tos.groups())
            precedences = {"syn_precedence": (old or 0) >> 5, "new_precedence": None if new is None else new >> 5}
            yield self._record(
                flow, segment, "tos-changed", side=_SIDES[side], syn=old, old=old, new=new, **precedences
            )
        if segment.comment == "keepalive probe":
            yield self._record(flow, segment, "keepalive-probe", side=_SIDES[side])
        if (refused := _REFUSED.match(segment.comment)) is not None:
            yield self._record(flow, segment, "dial-failed", failure=refused[1], detail=refused[2] or "")
            connection.over = True
            self._conclude(flow, side, "refused", "destination", "destination")
        elif segment.flags & RST and not connection.over:
            connection.over = True
            yield self._ending(flow, segment, "rst", from_peer=from_peer)
        elif segment.flags & FIN and not way.finished:
            way.finished = True
            yield self._ending(flow, segment, "fin", from_peer=from_peer)

    def _ending(self, flow: _Flow, segment: Captured, how: str, *, from_peer: bool) -> Record:
        side = _SIDES[segment.side]
        if from_peer:
            self._conclude(flow, segment.side, how, "peer", f"{side}-peer")
            more = {"unacked_bytes": 0} if how == "rst" else {}
            return self._record(flow, segment, f"{how}-received", side=side, **more)
        because = segment.comment or ("" if flow.is_connected else "destination")
        self._conclude(flow, segment.side, how, because, because)
        return self._record(flow, segment, f"{how}-sent", side=side, because=because)

    def _conclude(self, flow: _Flow, side: str, how: str, because: str, cause: str) -> None:
        flow.cause = flow.cause or cause or "peer"
        if how == "rst" or side not in flow.ended:
            flow.ended[side], flow.because[side] = how, because or "peer"

    def _end(self, flow: _Flow, segment: Captured) -> Record:
        out, inward = flow.carried
        sides = {_SIDES[side]: flow.ended.get(side) for side in _SIDES}
        because = {f"{_SIDES[side]}_because": flow.because.get(side) for side in _SIDES}
        return self._record(
            flow,
            segment,
            "flow-ended",
            destination=str(flow.destination),
            because=flow.cause,
            bytes_out=out,
            bytes_in=inward,
            bytes_lost=0,
            duration_s=round(segment.at_s - flow.opened_s, 6),
            granted_after_s=None if flow.granted_s is None else round(flow.granted_s - flow.opened_s, 6),
            **sides,
            **because,
        )

    def _record(self, flow: _Flow, segment: Captured, event: str, **fields: Any) -> Record:
        assert fields.keys() == FIELDS[event].keys(), fields.keys() ^ FIELDS[event].keys()  # noqa: S101
        at_s = round(segment.at_s - (self._began_s or 0.0), 6)
        return Record(event, at_s, flow.number, flow.process, fields, at_s - segment.at_s, flow.carried)
