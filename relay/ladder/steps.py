"""The steps of a ladder, made of a flow's records, those of the whole relay that came in its time among them.

    flow-opened      app ----> NAT                      tos-changed, fin-received, ...   where it came from ----> NAT
    flow-connected             NAT ----> server         fin-sent, rst-sent               NAT ----> where it was sent
                               NAT <---- server         what was carried since the record before  app --------> server

`moments` has what lies between two records.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from relay.ladder.moments import Moment, steps_between
from relay.ladder.step import Kind, Line, Step
from relay.log import Record
from relay.log.text import describe
from relay.log.vocabulary import is_inbound

_ROUNDING_S = 1e-5  # times are recorded to the microsecond, and one of them is a sum of three
_ANSWERED_S = 1e-3  # within which a behaviour's note is about the probe before it


def _by_kernel(via: str) -> bool:
    """Whether the initiator was connected to the relay's kernel before the relay knew of it."""
    return via == "forward" or is_inbound(via)


@dataclass(slots=True)
class _Flow:
    """What is known of a flow while its records are gone through."""

    began_s: float
    initiator: Line = Line.APP
    via: str = ""
    opened_s: float = 0.0
    connected_s: float | None = None
    dialled_s: float | None = None
    moments: list[Moment] = field(default_factory=list)

    @property
    def other(self) -> Line:
        return Line.SERVER if self.initiator is Line.APP else Line.APP


def steps_of(records: Sequence[Record]) -> list[Step]:
    """The steps of one flow."""
    if not records:
        return []
    flow = _Flow(records[0].at_s)
    before: Record | None = None
    for record in records:
        if before is not None and _answers(before, record):
            flow.moments[-1].steps += _answer(flow, before, record)
        else:
            steps = list(_STEPS.get(record.event, _remark)(flow, record))
            flow.moments.append(Moment(record.at_s - flow.began_s, steps, _carried(record)))
        before = record
    return steps_between(flow.moments, flow.initiator)


def _carried(record: Record) -> tuple[int, int] | None:
    if record.flow is None:
        return None
    if record.event == "flow-ended":
        return record.fields["bytes_out"], record.fields["bytes_in"]
    return record.carried


# Of one record each

_SIDES: Mapping[str, Line] = {"internal": Line.APP, "external": Line.SERVER}


def _remark(flow: _Flow, record: Record) -> Iterator[Step]:
    """What is put in words."""
    yield Step(Kind.NOTE, record.at_s - flow.began_s, describe(record))


def _opened(flow: _Flow, record: Record) -> Iterator[Step]:
    via = flow.via = record.fields["via"]
    flow.initiator = Line.SERVER if is_inbound(via) else Line.APP
    flow.opened_s = at_s = record.at_s - flow.began_s
    if via == "wire":
        label = "SYN"
    elif _by_kernel(via):
        label = "SYN, answered by the kernel"
    elif via == "socks5-udp":
        label = "its first datagram"
    else:
        label = f"{via} request"
    yield Step(Kind.OPEN, at_s, label, flow.initiator, Line.NAT)


def _connected(flow: _Flow, record: Record) -> Iterator[Step]:
    dial_s = record.fields["dial_s"]
    at_s = flow.connected_s = record.at_s - flow.began_s
    flow.dialled_s = max(flow.opened_s, at_s - dial_s)
    syn = Step(Kind.OPEN, flow.dialled_s, "SYN", Line.NAT, flow.other)
    flow.moments.append(Moment(flow.dialled_s, [syn]))
    yield Step(Kind.OPEN, at_s, f"SYN-ACK after {dial_s * 1000:.1f} ms", flow.other, Line.NAT)


def _dial_failed(flow: _Flow, record: Record) -> Iterator[Step]:
    fields, at_s = record.fields, record.at_s - flow.began_s
    why = f"{fields['failure']} ({fields['detail']})" if fields["detail"] else fields["failure"]
    if fields["failure"] == "name not resolved":
        yield Step(Kind.NOTE, at_s, why)
    else:
        yield Step(Kind.RST, at_s, f"not connected: {why}", Line.NAT, flow.other, lost=True)


def _abandoned(flow: _Flow, record: Record) -> Iterator[Step]:
    at_s, because = record.at_s - flow.began_s, record.fields["because"]
    yield Step(Kind.RST, at_s, "dial given up", Line.NAT, flow.other, because, lost=True)


def _vanished(flow: _Flow, record: Record) -> Iterator[Step]:
    yield Step(Kind.RST, record.at_s - flow.began_s, "RST, before it is connected", flow.initiator, Line.NAT)


def _handshake_failed(flow: _Flow, record: Record) -> Iterator[Step]:
    label = f"no valid request: {record.fields['reason']}"
    yield Step(Kind.FAULT, record.at_s - flow.began_s, label, flow.initiator, Line.NAT)


def _resolved(flow: _Flow, record: Record) -> Iterator[Step]:
    fields, at_s = record.fields, record.at_s - flow.began_s
    yield Step(Kind.OPEN, at_s, f"asks to resolve {fields['name']}", flow.initiator, Line.NAT)
    yield Step(Kind.OPEN, at_s, str(fields["answer"] or fields["failure"]), Line.NAT, flow.initiator)


def _tos_changed(flow: _Flow, record: Record) -> Iterator[Step]:
    fields = record.fields
    if fields["new"] is None:
        label = f"TOS differs from the SYN's 0x{fields['syn']:02x}"
    else:
        label = f"TOS 0x{fields['old']:02x} -> 0x{fields['new']:02x}"
        before, now, syn = fields["old"] >> 5, fields["new_precedence"], fields["syn_precedence"]
        if {before, now} != {syn}:
            label += f", precedence {before} -> {now}; its SYN had {syn}"
    yield _seen(flow, record, Kind.TOS, label)


def _probe(flow: _Flow, record: Record) -> Iterator[Step]:
    yield _seen(flow, record, Kind.PROBE, "keepalive probe")


def _answers(before: Record, record: Record) -> bool:
    """Whether a note says who answered the probe before it."""
    return (before.event, record.event) == ("keepalive-probe", "note") and record.at_s - before.at_s < _ANSWERED_S


def _answer(flow: _Flow, probe: Record, note: Record) -> Iterator[Step]:
    side, fields = _SIDES[probe.fields["side"]], note.fields
    yield Step(Kind.PROBE, note.at_s - flow.began_s, f"ACK: {fields['text']}", Line.NAT, side, fields["because"])


def _probe_sent(flow: _Flow, record: Record) -> Iterator[Step]:
    yield _done(flow, record, Kind.PROBE, "keepalive probe")


def _probe_answered(flow: _Flow, record: Record) -> Iterator[Step]:
    yield _seen(flow, record, Kind.PROBE, "ACK: the answer to the probe")


def _fin_received(flow: _Flow, record: Record) -> Iterator[Step]:
    yield _seen(flow, record, Kind.FIN, "FIN")


def _rst_received(flow: _Flow, record: Record) -> Iterator[Step]:
    yield _seen(flow, record, Kind.RST, f"RST{_unacked(record)}")


def _timed_out(flow: _Flow, record: Record) -> Iterator[Step]:
    yield _done(flow, record, Kind.SILENCE, f"no answer any more{_unacked(record)}", lost=True)


def _fin_sent(flow: _Flow, record: Record) -> Iterator[Step]:
    yield _done(flow, record, Kind.FIN, "FIN")


def _rst_sent(flow: _Flow, record: Record) -> Iterator[Step]:
    yield _done(flow, record, Kind.RST, "RST")


def _blackholed(flow: _Flow, record: Record) -> Iterator[Step]:
    yield _seen(flow, record, Kind.SILENCE, "gets no answer", lost=True)


def _forgotten(flow: _Flow, record: Record) -> Iterator[Step]:
    silent = record.fields["then"] == "silence"
    label = "forgotten: gets no answer" if silent else "forgotten: the next gets RST"
    yield _seen(flow, record, Kind.SILENCE, label, lost=True)


def _lost(flow: _Flow, record: Record) -> Iterator[Step]:
    fields = record.fields
    label = f"{fields['bytes']:,} B that it acknowledged never arrive"
    yield Step(Kind.LOSS, record.at_s - flow.began_s, label, Line.NAT, Line.SERVER, fields["because"], lost=True)


def _fault(flow: _Flow, record: Record) -> Iterator[Step]:
    yield Step(Kind.FAULT, record.at_s - flow.began_s, describe(record))


def _silence(flow: _Flow, record: Record) -> Iterator[Step]:
    yield Step(Kind.SILENCE, record.at_s - flow.began_s, describe(record))


def _ended(flow: _Flow, record: Record) -> Iterator[Step]:
    fields, at_s = record.fields, record.at_s - flow.began_s
    _add_grant(flow, at_s, fields)
    for side, line in _SIDES.items():
        how, because = fields[side], fields[f"{side}_because"] or ""
        if how == "refused":
            yield Step(Kind.RST, at_s, "refused", Line.NAT, line, because)
        elif how == "handed-over":
            yield Step(Kind.NOTE, at_s, "its connection goes on with the next flow")
    yield Step(Kind.END, at_s, describe(record))


def _add_grant(flow: _Flow, ended_s: float, fields: Mapping[str, Any]) -> None:
    """Show when the initiator was granted the connection, which the record of the flow's end has."""
    after_s = fields["granted_after_s"]
    if after_s is None or _by_kernel(flow.via):
        return
    at_s = max(flow.opened_s, ended_s - fields["duration_s"] + after_s)
    if flow.connected_s is not None and abs(at_s - flow.connected_s) < _ROUNDING_S:
        at_s = flow.connected_s
    step = Step(Kind.OPEN, at_s, "SYN-ACK" if flow.via == "wire" else "connected", Line.NAT, flow.initiator)
    moment = Moment(at_s, [step])
    if flow.dialled_s is not None and abs(at_s - flow.dialled_s) < _ROUNDING_S and at_s != flow.connected_s:
        moment.at_s = flow.dialled_s
        flow.moments.insert(1, moment)  # before the dial, which is at the same time
    else:
        flow.moments.append(moment)


def _unacked(record: Record) -> str:
    count = record.fields["unacked_bytes"]
    return f"; {count:,} B were never acknowledged" if count else ""


def _seen(flow: _Flow, record: Record, kind: Kind, label: str, *, lost: bool = False) -> Step:
    """An arrow from the record's side."""
    line, because = _SIDES[record.fields["side"]], record.fields.get("because", "")
    return Step(kind, record.at_s - flow.began_s, label, line, Line.NAT, because, lost)


def _done(flow: _Flow, record: Record, kind: Kind, label: str, *, lost: bool = False) -> Step:
    """An arrow to the record's side."""
    line, because = _SIDES[record.fields["side"]], record.fields.get("because", "")
    return Step(kind, record.at_s - flow.began_s, label, Line.NAT, line, because, lost)


_STEPS: Mapping[str, Callable[[_Flow, Record], Iterator[Step]]] = {
    "flow-opened": _opened,
    "flow-connected": _connected,
    "dial-failed": _dial_failed,
    "dial-abandoned": _abandoned,
    "initiator-vanished": _vanished,
    "handshake-failed": _handshake_failed,
    "name-resolved": _resolved,
    "tos-changed": _tos_changed,
    "keepalive-probe": _probe,
    "probe-sent": _probe_sent,
    "probe-answered": _probe_answered,
    "fin-received": _fin_received,
    "rst-received": _rst_received,
    "timed-out": _timed_out,
    "fin-sent": _fin_sent,
    "rst-sent": _rst_sent,
    "blackholed": _blackholed,
    "forgotten": _forgotten,
    "bytes-lost": _lost,
    "fault": _fault,
    "frozen": _silence,
    "link-down": _silence,
    "flow-ended": _ended,
}
"""Every other event has the words of the readable log."""
