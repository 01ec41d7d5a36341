"""The steps of a ladder, made of a flow's records, those of the whole relay that came in its time among them.

    flow-opened      app ----> NAT                      tos-changed, fin-received, ...   where it came from ----> NAT
    flow-connected             NAT ----> server         fin-sent, rst-sent               NAT ----> where it was sent
                               NAT <---- server         what was carried since the record before  app --------> server

Bytes are counted at each record, so it is known between which two records they passed and not when. A time in which
nothing is recorded is a step of its own from `FOLD_S` on. What comes over and over again is folded likewise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Any

from relay.log import Record
from relay.log.text import describe

FOLD_S = 0.1
"""A time without a record is told of from here on."""

_REPEATS = 4  # of the same, above which only the first two and the last are shown
_ROUNDING_S = 1e-5  # times are recorded to the microsecond, and one of them is a sum of three
_ANSWERED_S = 1e-3  # within which a behaviour's note is about the probe before it
_BY_KERNEL = frozenset({"forward", "inbound"})
"""Ways in whose initiator was connected to the relay's kernel before the relay knew of it."""


class Line(IntEnum):
    """The lines of a ladder, from left to right."""

    APP = 0
    NAT = 1
    SERVER = 2


class Kind(StrEnum):
    """What a step is about; it chooses the colour."""

    OPEN = "open"
    DATA = "data"
    TOS = "tos"
    PROBE = "probe"
    FIN = "fin"
    RST = "rst"
    SILENCE = "silence"
    LOSS = "loss"
    NOTE = "note"
    FAULT = "fault"
    GAP = "gap"
    END = "end"


@dataclass(frozen=True, slots=True)
class Step:
    """One row: an arrow from one line to another, or, without them, a remark."""

    kind: Kind
    at_s: float | None
    """On the NAT's clock, since the flow's first record; None where that is not known."""
    label: str
    start: Line | None = None
    end: Line | None = None
    because: str = ""
    """The behaviour, or the cause, that had this done; empty for what was seen."""
    lost: bool = False
    """Whether it never arrives, or gets no answer."""

    @property
    def text(self) -> str:
        """The label, with who had it done."""
        return f"{self.label}, by {self.because}" if self.because else self.label


@dataclass(slots=True)
class _Moment:
    """What happened at one time, and what had been carried by then, if that is known."""

    at_s: float
    steps: list[Step]
    carried: tuple[int, int] | None = None
    is_fold: bool = False
    """Whether it stands for many that were alike."""

    @property
    def signature(self) -> tuple[object, ...]:
        return tuple((each.kind, each.start, each.end, each.label, each.because) for each in self.steps)


@dataclass(slots=True)
class _Flow:
    """What is known of a flow while its records are gone through."""

    began_s: float
    initiator: Line = Line.APP
    via: str = ""
    opened_s: float = 0.0
    connected_s: float | None = None
    dialled_s: float | None = None
    moments: list[_Moment] = field(default_factory=list)

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
            flow.moments.append(_Moment(record.at_s - flow.began_s, steps, _carried(record)))
        before = record
    moments = sorted(flow.moments, key=lambda moment: moment.at_s)  # it is stable
    return list(_with_gaps(_without_repeats(moments), flow.initiator))


def _carried(record: Record) -> tuple[int, int] | None:
    if record.flow is None:
        return None
    if record.event == "flow-ended":
        return record.fields["bytes_out"], record.fields["bytes_in"]
    return record.carried


# Between the records


def _with_gaps(moments: Iterable[_Moment], initiator: Line) -> Iterator[Step]:
    at_s, carried = 0.0, (0, 0)
    for moment in moments:
        data: list[Step] = []
        if moment.carried is not None:
            data = list(_data(carried, moment.carried, initiator))
            carried = max(carried[0], moment.carried[0]), max(carried[1], moment.carried[1])
        if (gap_s := moment.at_s - at_s) >= FOLD_S and not moment.is_fold:
            yield Step(Kind.GAP, None, f"{_seconds(gap_s)}, in which" if data else f"nothing for {_seconds(gap_s)}")
        yield from data
        yield from moment.steps
        at_s = max(at_s, moment.at_s)


def _data(before: tuple[int, int], now: tuple[int, int], initiator: Line) -> Iterator[Step]:
    ways = [(Line.APP, Line.SERVER), (Line.SERVER, Line.APP)]
    for start, end in ways if initiator is Line.APP else ways[::-1]:
        count, so_far = now[start is Line.SERVER] - before[start is Line.SERVER], now[start is Line.SERVER]
        if count > 0:
            total = f" ({so_far:,} B so far)" if so_far > count else ""
            yield Step(Kind.DATA, None, f"{count:,} B{total}", start, end)


def _without_repeats(moments: Sequence[_Moment]) -> Iterator[_Moment]:
    first = 0
    while first < len(moments):
        last = first
        while last + 1 < len(moments) and _repeats(moments[last], moments[last + 1]):
            last += 1
        if last - first < _REPEATS:
            yield from moments[first : last + 1]
        else:
            yield from moments[first : first + 2]
            told = f"the same {last - first - 2} times more, until {moments[last - 1].at_s:.3f} s"
            yield _Moment(moments[last - 1].at_s, [Step(Kind.GAP, None, told)], is_fold=True)
            yield moments[last]
        first = last + 1


def _repeats(one: _Moment, other: _Moment) -> bool:
    return one.carried == other.carried and bool(one.steps) and one.signature == other.signature


def _seconds(seconds: float) -> str:
    return f"{seconds:.3f} s" if seconds < 10 else f"{seconds:,.1f} s"


# Of one record each

_SIDES: Mapping[str, Line] = {"internal": Line.APP, "external": Line.SERVER}


def _remark(flow: _Flow, record: Record) -> Iterator[Step]:
    """What is told in words."""
    yield Step(Kind.NOTE, record.at_s - flow.began_s, describe(record))


def _opened(flow: _Flow, record: Record) -> Iterator[Step]:
    via = flow.via = record.fields["via"]
    flow.initiator = Line.SERVER if via == "inbound" else Line.APP
    flow.opened_s = at_s = record.at_s - flow.began_s
    if via == "wire":
        label = "SYN"
    elif via in _BY_KERNEL:
        label = "SYN, answered by the kernel"
    else:
        label = f"{via} request"
    yield Step(Kind.OPEN, at_s, label, flow.initiator, Line.NAT)


def _connected(flow: _Flow, record: Record) -> Iterator[Step]:
    dial_s = record.fields["dial_s"]
    at_s = flow.connected_s = record.at_s - flow.began_s
    flow.dialled_s = max(flow.opened_s, at_s - dial_s)
    syn = Step(Kind.OPEN, flow.dialled_s, "SYN", Line.NAT, flow.other)
    flow.moments.append(_Moment(flow.dialled_s, [syn]))
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
    if after_s is None or flow.via in _BY_KERNEL:
        return
    at_s = max(flow.opened_s, ended_s - fields["duration_s"] + after_s)
    if flow.connected_s is not None and abs(at_s - flow.connected_s) < _ROUNDING_S:
        at_s = flow.connected_s
    step = Step(Kind.OPEN, at_s, "SYN-ACK" if flow.via == "wire" else "connected", Line.NAT, flow.initiator)
    moment = _Moment(at_s, [step])
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
"""Every other event is told in the words of the readable log."""
