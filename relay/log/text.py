"""The event log as a person reads it: one line per event, coloured on a terminal.

12:00:01.234  #7  ssh[4121]  TOS 0x00 -> 0x48 from the app, precedence 0 -> 2 (its SYN's was 0)
12:00:01.234  #7  ssh[4121]  RST to the app, by tos-reset
12:00:01.339  #7  ssh[4121]  FIN to the server, by tos-reset
12:00:01.341  #7  ssh[4121]  ended by tos-reset: 127.0.0.1:22, app rst, server fin, 2642 B out, 2138 B in, 2.321 s
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from relay.log.record import Record
from relay.printable import escape_unprintable

_WHO = {"internal": "the app", "external": "the server"}
_LOUD = frozenset(
    {
        *("rst-sent", "bytes-lost", "blackholed", "forgotten", "fault", "accept-paused", "flow-refused", "link-down"),
        *("worker-died", "records-dropped", "slot-denied"),
    }
)
_QUIET = frozenset(
    {"note", "fin-received", "fin-sent", "relay-draining", "relay-stopped", "worker-started", "action-dropped"}
)
_RED, _DIM, _PLAIN = "\x1b[31m", "\x1b[2m", "\x1b[0m"


def describe(record: Record) -> str:
    """What happened, in one line without time or flow."""
    sentence = _SENTENCES.get(record.event)
    return escape_unprintable(sentence(record.fields) if sentence is not None else _listed(record))


class TextLines:
    """Words each record as one readable line, without its end."""

    def __init__(self, started_at: float, *, colour: bool) -> None:
        self._started_at = started_at
        self._colour = colour

    def __call__(self, record: Record) -> str:
        at = datetime.fromtimestamp(record.at(self._started_at)).astimezone()
        parts = [at.strftime("%H:%M:%S.") + f"{at.microsecond // 1000:03d}"]
        if record.flow is not None:
            parts.append(f"#{record.flow}")
        if record.process is not None:
            pid, name = record.process
            parts.append(f"{escape_unprintable(name)}[{pid}]")
        line = "  ".join([*parts, describe(record)])
        if self._colour and record.event in _LOUD | _QUIET:
            line = f"{_RED if record.event in _LOUD else _DIM}{line}{_PLAIN}"
        return line


def _listed(record: Record) -> str:
    """An event that has no sentence of its own: its name, the side, the other fields, and the behaviour behind it."""
    fields = dict(record.fields)
    side, because = fields.pop("side", None), fields.pop("because", None)
    parts = [
        record.event.replace("-", " "),
        *([_WHO[side]] if side is not None else []),
        *(f"{name}={value}" for name, value in fields.items()),
        *([f"by {because}"] if because is not None else []),
    ]
    return ", ".join(parts)


def _tos_changed(fields: Mapping[str, Any]) -> str:
    who = _WHO[fields["side"]]
    if fields["new"] is None:
        return f"TOS differs from the SYN's 0x{fields['syn']:02x}, from {who}"
    change = f"TOS 0x{fields['old']:02x} -> 0x{fields['new']:02x} from {who}"
    precedence = f"precedence {fields['old'] >> 5} -> {fields['new_precedence']}"
    return f"{change}, {precedence} (its SYN's was {fields['syn_precedence']})"


def _syn_unknown(fields: Mapping[str, Any]) -> str:
    known = fields["reference"]
    instead = f"TOS 0x{known:02x} of the next segment stands for it" if known is not None else "no change is seen"
    return f"the SYN of {_WHO[fields['side']]} is not known: {instead}"


_NEXT = {"silence": "what it sends gets no answer", "reset": "its next segment gets RST"}


def _all_taken(fields: Mapping[str, Any]) -> str:
    where = " to this destination" if fields["per"] == "destination" else ""
    return f"all {fields['limit']} {fields['pool']}{where} are taken, by {fields['because']}"


def _unacked(fields: Mapping[str, Any]) -> str:
    return f" ({fields['unacked_bytes']} B never acknowledged)" if fields["unacked_bytes"] else ""


def _draining(flows: int, at_most_s: float) -> str:
    if flows == 1:
        return f"stopping: 1 flow has {at_most_s:g} s; Ctrl-C again ends it now"
    return f"stopping: {flows} flows have {at_most_s:g} s; Ctrl-C again ends them now"


def _stopped(flows_ended: int) -> str:
    return f"relay stopped; it reset {'1 flow' if flows_ended == 1 else f'{flows_ended} flows'}"


def _records_dropped(records: int) -> str:
    return f"{'1 record is' if records == 1 else f'{records} records are'} missing here: this log was read too slowly"


def _of_forward(fields: Mapping[str, Any]) -> str:
    return f" on the forward at {fields['forward']}" if fields["forward"] else ""


def _datagrams(count: int) -> str:
    return "1 datagram" if count == 1 else f"{count} datagrams"


def _flow_ended(fields: Mapping[str, Any]) -> str:
    sides = ", ".join(
        f"{_WHO[side].removeprefix('the ')} {fields[side]} by {fields[f'{side}_because']}"
        for side in _WHO
        if fields[side]
    )
    lost = f", {fields['bytes_lost']} B lost" if fields["bytes_lost"] else ""
    return (
        f"ended by {fields['because']}: {fields['destination'] or 'no destination'}, {sides}, "
        f"{fields['bytes_out']} B out, {fields['bytes_in']} B in{lost}, {fields['duration_s']:.3f} s"
    )


_SENTENCES: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "relay-started": lambda f: f"relay started with profile {f['profile']}",
    "relay-draining": lambda f: _draining(f["flows"], f["at_most_s"]),
    "relay-stopped": lambda f: _stopped(f["flows_ended"]),
    "worker-started": lambda f: f"worker {f['worker']} serves, process {f['pid']}",
    "worker-died": lambda f: f"worker {f['worker']}, process {f['pid']}, died with its flows: {f['status']}",
    "records-dropped": lambda f: _records_dropped(f["records"]),
    "accept-paused": lambda f: f"cannot accept connections for now: {f['reason']}",
    "accept-resumed": lambda f: "accepting connections again",
    "ping-unavailable": lambda f: f"pings are not answered, for this host lets the relay send none: {f['remedy']}",
    "flow-refused": lambda f: f"{f['client']} is refused: {f['reason']}",
    "handshake-failed": lambda f: f"{f['client']} sent no valid request: {f['reason']}",
    "name-resolved": lambda f: f"{f['client']} asks to resolve {f['name']}: {f['answer'] or f['failure']}",
    "association-opened": lambda f: f"{f['client']} may send datagrams to {f['address']}",
    "association-refused": lambda f: f"{f['client']} may send no datagrams: {f['reason']}",
    "bind-opened": lambda f: f"{f['client']} waits at {f['address']} for a connection from {f['peer']}",
    "peer-refused": lambda f: f"{f['peer']} has connected and is reset: {f['expected']} alone may",
    "bind-failed": lambda f: f"{f['client']} waits no more: {f['failure']} ({f['detail']})",
    "datagrams-dropped": lambda f: f"{_datagrams(f['datagrams'])} dropped so far: {f['reason']}",
    "mapping-opened": lambda f: f"mapped to {f['local']}",
    "flow-opened": lambda f: f"{f['client']} asks for {f['destination']} via {f['via']}",
    "flow-connected": lambda f: f"connected to {f['address']} in {f['dial_s'] * 1000:.1f} ms",
    "dial-failed": lambda f: f"not connected: {f['failure']} ({f['detail']})",
    "dial-delayed": lambda f: f"the dial begins {f['by_s']:g} s later, by {f['because']}",
    "dial-abandoned": lambda f: f"dial abandoned, by {f['because']}",
    "initiator-vanished": lambda f: "the client went away before it was connected",
    "syn-unknown": _syn_unknown,
    "tos-changed": _tos_changed,
    "keepalive-probe": lambda f: f"keepalive probe from {_WHO[f['side']]}",
    "probe-sent": lambda f: f"keepalive probe to {_WHO[f['side']]}, by {f['because']}",
    "probe-answered": lambda f: f"{_WHO[f['side']]} has answered the keepalive probe",
    "fin-received": lambda f: f"FIN from {_WHO[f['side']]}",
    "rst-received": lambda f: f"RST from {_WHO[f['side']]}{_unacked(f)}",
    "timed-out": lambda f: f"{_WHO[f['side']]} stopped answering{_unacked(f)}",
    "link-down": lambda f: "the link went down",
    "frozen": lambda f: f"{_WHO[f['side']]} is frozen",
    "thawed": lambda f: f"{_WHO[f['side']]} is thawed",
    "settings-changed": lambda f: f"from now on {', '.join(f['settings'])}",
    "forward-changed": lambda f: f"at {f['forward']} from now on {', '.join(f['settings']) or 'what the relay has'}",
    "fault-set": lambda f: (
        f"fault {f['name']} is set{_of_forward(f)}, toward {_WHO[f['side']]}: {', '.join(f['effects']) or 'no effect'}"
    ),
    "fault-lifted": lambda f: f"fault {f['name']} is lifted{_of_forward(f)}",
    "shape-changed": lambda f: (
        f"what goes to {_WHO[f['side']]}: {', '.join(f['effects']) or 'no fault any more'}, by {f['because']}"
    ),
    "keepalive-presumed": lambda f: (
        f"keepalive of {_WHO[f['side']]}: {f['probes']} probes, {f['every_s']:g} s apart, count as sent by then "
        f"(known by {f['known_by']})"
    ),
    "not-advanced": lambda f: f"not moved on with the NAT's clock: {f['what']}",
    "time-advanced": lambda f: f"the NAT's clock was moved on by {f['by_s']:g} s",
    "chance-drawn": lambda f: f"{f['because']} drew {f['value']:.6f}",
    "slot-awaited": lambda f: f"waits for its turn: {_all_taken(f)}",
    "slot-denied": lambda f: f"no room: {_all_taken(f)}",
    "fin-sent": lambda f: f"FIN to {_WHO[f['side']]}, by {f['because']}",
    "rst-sent": lambda f: f"RST to {_WHO[f['side']]}, by {f['because']}",
    "blackholed": lambda f: f"what {_WHO[f['side']]} sends gets no answer any more, by {f['because']}",
    "forgotten": lambda f: f"{_WHO[f['side']]} is forgotten, by {f['because']}: {_NEXT.get(f['then'], f['then'])}",
    "bytes-lost": lambda f: f"{f['bytes']} B were acknowledged and are lost, by {f['because']}",
    "note": lambda f: f"{f['because']}: {f['text']}",
    "action-dropped": lambda f: f"{f['because']} asked too late for {f['action']}",
    "flow-ended": _flow_ended,
    "fault": lambda f: f"fault: {f['error']}",
}
