"""The vocabulary of the event log: every event, its fields and what they hold, and the words for why and how flows end.

`FIELDS` and `COMMON_FIELDS` are the documentation of the JSON, too. `EventLog` refuses a field that is not here.
The reference in docs/events.md is made from this module, by `tests/support/log_reference.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import EnumType, StrEnum
from typing import TYPE_CHECKING, Any, TypeAlias

from relay.causes import Cause, How
from relay.deprecation import warn_of_former_name

__all__ = ["COMMON_FIELDS", "FIELDS", "Cause", "EventType", "How", "is_inbound"]


def is_inbound(via: str) -> bool:
    """Whether the flows of a way in, as `flow-opened` names it, are opened by the external side."""
    return via == "inbound" or via.endswith("-bind")


_FORMER = {"deafened": "blackholed", "opener-vanished": "initiator-vanished"}


_FORMER_CAUSES = {"idle-limit": "idle-timeout"}


def current_causes(fields: Mapping[str, Any], *, stacklevel: int = 1) -> Mapping[str, Any]:
    """These fields with causes by their words now, likewise: behaviours are causes under their names."""
    former = {name for name, word in fields.items() if name.endswith("because") and word in _FORMER_CAUSES}
    for name in former:
        warn_of_former_name(fields[name], _FORMER_CAUSES[fields[name]], stacklevel=stacklevel + 1)
    return {**fields, **{name: _FORMER_CAUSES[fields[name]] for name in former}}


def event_now(event: str) -> str:
    """An event by its name now: a log that the release before wrote has its former one."""
    return _FORMER.get(event, event)


def current_event(event: str, *, stacklevel: int = 1) -> str:
    """An event by its name now; its former one is taken for one release, with a warning to the caller's caller."""
    current = event_now(event)
    if current is not event:
        warn_of_former_name(str(event), current, stacklevel=stacklevel + 1)
    return current


class _Members(EnumType):
    """Gives members under their former names."""

    if not TYPE_CHECKING:

        def __getattr__(cls, name):
            former = name.lower().replace("_", "-")
            if former not in _FORMER:
                raise AttributeError(f"type object {cls.__name__!r} has no attribute {name!r}")
            return cls(current_event(former, stacklevel=2))


class EventType(StrEnum, metaclass=_Members):
    """What can happen, by name; `FIELDS` has what each one tells. A plain string does wherever a member does."""

    RELAY_STARTED = "relay-started"
    RELAY_DRAINING = "relay-draining"
    RELAY_STOPPED = "relay-stopped"
    WORKER_STARTED = "worker-started"
    WORKER_DIED = "worker-died"
    RECORDS_DROPPED = "records-dropped"
    ACCEPT_PAUSED = "accept-paused"
    ACCEPT_RESUMED = "accept-resumed"
    PING_UNAVAILABLE = "ping-unavailable"
    FLOW_REFUSED = "flow-refused"
    HANDSHAKE_FAILED = "handshake-failed"
    NAME_RESOLVED = "name-resolved"
    ASSOCIATION_OPENED = "association-opened"
    ASSOCIATION_REFUSED = "association-refused"
    DATAGRAMS_DROPPED = "datagrams-dropped"
    BIND_OPENED = "bind-opened"
    PEER_REFUSED = "peer-refused"
    BIND_FAILED = "bind-failed"
    FLOW_OPENED = "flow-opened"
    FLOW_CONNECTED = "flow-connected"
    MAPPING_OPENED = "mapping-opened"
    DIAL_FAILED = "dial-failed"
    DIAL_DELAYED = "dial-delayed"
    DIAL_ABANDONED = "dial-abandoned"
    INITIATOR_VANISHED = "initiator-vanished"
    SYN_UNKNOWN = "syn-unknown"
    TOS_CHANGED = "tos-changed"
    KEEPALIVE_PROBE = "keepalive-probe"
    PROBE_SENT = "probe-sent"
    PROBE_ANSWERED = "probe-answered"
    FIN_RECEIVED = "fin-received"
    RST_RECEIVED = "rst-received"
    TIMED_OUT = "timed-out"
    LINK_DOWN = "link-down"
    FROZEN = "frozen"
    THAWED = "thawed"
    SETTINGS_CHANGED = "settings-changed"
    FORWARD_CHANGED = "forward-changed"
    FAULT_SET = "fault-set"
    FAULT_LIFTED = "fault-lifted"
    SHAPE_CHANGED = "shape-changed"
    KEEPALIVE_PRESUMED = "keepalive-presumed"
    NOT_ADVANCED = "not-advanced"
    TIME_ADVANCED = "time-advanced"
    CHANCE_DRAWN = "chance-drawn"
    SLOT_AWAITED = "slot-awaited"
    SLOT_DENIED = "slot-denied"
    FIN_SENT = "fin-sent"
    RST_SENT = "rst-sent"
    BLACKHOLED = "blackholed"
    FORGOTTEN = "forgotten"
    BYTES_LOST = "bytes-lost"
    NOTE = "note"
    ACTION_DROPPED = "action-dropped"
    FLOW_ENDED = "flow-ended"
    FAULT = "fault"

    @classmethod
    def _missing_(cls, value: object) -> EventType | None:
        return cls(current_event(value, stacklevel=4)) if isinstance(value, str) and value in _FORMER else None


FIELDS: Mapping[str, Mapping[str, str]] = {
    "relay-started": {
        "profile": "the profile's name",
        "listen": "the proxy's address, or null",
        "forwards": "the forwards, as BIND -> TARGET",
        "inbound": "the inbound forwards, as BIND -> TARGET",
        "wire": "the guests' links, as `--wire` writes them",
        "seed": "the seed of all random choices",
        "time_scale": "the speed of the NAT's clock, as a multiple of the real clock's",
        "backend": "the async library: asyncio, trio or uvloop",
        "workers": "how many processes serve",
        "fidelity": "what this host can do about each quirk: exact, approximate or impossible",
    },
    "relay-draining": {"flows": "how many flows are open", "at_most_s": "how long they have to end, in seconds"},
    "relay-stopped": {"flows_ended": "how many flows the stop ended"},
    "worker-started": {"worker": "its number, from 1; only with `--workers`", "pid": "its process"},
    "worker-died": {
        "worker": "its number; its flows are gone and have no `flow-ended`",
        "pid": "its process",
        "status": "the signal that killed it, or its exit code",
    },
    "records-dropped": {"records": "how many records are missing here: this log's reader was too slow"},
    "accept-paused": {"reason": "why the relay accepts no connection for now"},
    "accept-resumed": {},
    "ping-unavailable": {"remedy": "what lets the relay ask other hosts for the echoes that a guest wants"},
    "flow-refused": {"client": "the client's address", "reason": "the limit that was reached"},
    "handshake-failed": {"client": "the client's address", "reason": "the client's mistake"},
    "name-resolved": {
        "client": "the client's address",
        "name": "the name or address that it asked the relay to resolve, over SOCKS5, without a connection",
        "answer": "the address or name in the relay's reply, or null",
        "failure": "name not resolved, timed out, or null",
    },
    "association-opened": {
        "client": "the client's address, of the TCP connection that it lasts as long as",
        "address": "where the relay takes the client's datagrams (SOCKS5 UDP ASSOCIATE)",
    },
    "association-refused": {"client": "the client's address", "reason": "why it may send no datagrams"},
    "datagrams-dropped": {
        "reason": "why datagrams of this association are dropped",
        "datagrams": "how many so far: recorded of the first, and at the association's end",
    },
    "bind-opened": {
        "client": "the client's address",
        "address": "where the relay waits for a connection for the client (SOCKS BIND)",
        "peer": "the one host that may connect; its connection is a flow of its own",
    },
    "peer-refused": {"peer": "who has connected", "expected": "the one host that may"},
    "bind-failed": {
        "client": "the client's address",
        "failure": "timed out, name not resolved, denied, ...",
        "detail": "what the client waited for",
    },
    "flow-opened": {
        "via": "socks4, socks4a, socks5, http-connect, http, forward, inbound or wire; of datagrams socks5-udp; of a "
        "connection that a client waited for socks5-bind, socks4-bind or socks4a-bind",
        "client": "the initiator's address",
        "destination": "the destination that it asked for",
    },
    "flow-connected": {
        "address": "the address that the relay connected to",
        "local": "the relay's own address of that connection, or null if it is gone already",
        "dial_s": "how long the dial took, in seconds",
    },
    "mapping-opened": {"local": "the relay's address toward the server, of a flow of datagrams"},
    "dial-failed": {"failure": "refused, timed out, name not resolved, ...", "detail": "the errno and the address"},
    "dial-delayed": {"by_s": "how much later the dial begins, in seconds", "because": "the behaviour"},
    "dial-abandoned": {"because": "the behaviour"},
    "initiator-vanished": {},
    "syn-unknown": {
        "side": "the side whose SYN the kernel has not kept (it keeps none under SYN cookies)",
        "reference": "the TOS byte of the next segment, which takes the place of the SYN's; null if that is unknown as "
        "well: then no change is seen",
    },
    "tos-changed": {
        "side": "the side that sent the segment",
        "syn": "the TOS byte of that side's SYN, or what takes its place (`syn-unknown`)",
        "old": "the byte before",
        "new": "the byte now; null if the relay only knows that it differs",
        "syn_precedence": "the SYN's precedence",
        "new_precedence": "the precedence now, or null",
    },
    "keepalive-probe": {"side": "the side that sent it"},
    "probe-sent": {
        "side": "the side that is asked by a keepalive probe whether it is there",
        "because": "the behaviour",
    },
    "probe-answered": {"side": "the side that has answered it"},
    "fin-received": {"side": "the side that sent it"},
    "rst-received": {"side": "the side that sent it", "unacked_bytes": "bytes sent to it that it never acknowledged"},
    "timed-out": {
        "side": "the side that stopped answering",
        "unacked_bytes": "bytes sent to it that it never acknowledged",
    },
    "link-down": {},
    "frozen": {"side": "the side of all flows that the relay stops reading and writing"},
    "thawed": {"side": "the side of all flows that the relay reads and writes again"},
    "settings-changed": {"settings": "the settings of flows from now on, as BEHAVIOUR.SETTING=VALUE"},
    "forward-changed": {
        "forward": "the forward, by where it listens",
        "settings": "the settings of its own of its flows from now on, as BEHAVIOUR.SETTING=VALUE",
    },
    "fault-set": {
        "name": "the name of a fault that a command has set: flows suffer it from now on, those that are open, too",
        "side": "the side toward which bytes are delayed, slowed down or cut up",
        "effects": "what it does, as NAME=VALUE",
        "forward": "the forward whose flows suffer it, by where that listens; null: all flows",
    },
    "fault-lifted": {"name": "the name of a fault that no flow suffers any more", "forward": "likewise"},
    "shape-changed": {
        "side": "the side toward which bytes, FIN and RST of this flow are late, slowed down or cut up",
        "effects": "what it does to them from now on, as NAME=VALUE; empty: nothing any more",
        "because": "the behaviour, or the fault that a command has set: `fault NAME`, or `forward's fault NAME`",
    },
    "keepalive-presumed": {
        "side": "the side whose socket sends keepalive probes, by its kernel's timer, which an advance does not move",
        "probes": "how many it would send in the time that passes at once; they count as traffic",
        "every_s": "how far they are apart, in seconds of the NAT's clock",
        "known_by": "how that is known: the socket's options, or its kernel's timer, which is approximate",
    },
    "not-advanced": {"what": "what an advance of the NAT's clock does not move, though it may matter to this flow"},
    "time-advanced": {"by_s": "how far the NAT's clock was moved, in seconds; what was due by then stands before this"},
    "chance-drawn": {
        "value": "from 0 up to, not including, 1",
        "because": "the behaviour that it is for, or the fault that a command has set, as in `shape-changed`",
    },
    "slot-awaited": {
        "pool": "the behaviour's name for what there is only so much of; this connection waits for its turn",
        "limit": "how many there are; with `--workers` this worker's part",
        "per": "relay, or destination: what the limit holds for",
        "because": "the behaviour",
    },
    "slot-denied": {
        "pool": "the behaviour's name for what there is only so much of, and no more",
        "limit": "likewise",
        "per": "likewise",
        "because": "the behaviour",
    },
    "fin-sent": {"side": "the side that it was sent to", "because": "the behaviour"},
    "rst-sent": {"side": "the side that it was sent to", "because": "the behaviour"},
    "blackholed": {"side": "the side whose segments get no answer", "because": "the behaviour"},
    "forgotten": {
        "side": "the side whose connection was dropped silently",
        "then": "what its next segment gets: silence, or reset",
        "because": "the behaviour",
    },
    "bytes-lost": {
        "bytes": "bytes that the internal side had acknowledged and the external side never took",
        "because": "the behaviour",
    },
    "note": {
        "text": "what the behaviour says, or when the fault ends the flow",
        "because": "the behaviour, or the fault that a command has set, as in `shape-changed`",
    },
    "action-dropped": {
        "action": "what the behaviour asked for too late; only with `RELAY_DEBUG`",
        "because": "the behaviour",
    },
    "flow-ended": {
        "destination": "the destination that the flow's initiator asked for; null if it asked for none",
        "because": "what began its end: a cause, or a behaviour's name",
        "internal": "how the internal side ended, or null if there was no connection to it",
        "internal_because": "what ended it: a cause, or a behaviour's name; or null likewise",
        "external": "how the external side ended, or null likewise",
        "external_because": "likewise",
        "bytes_out": "bytes carried from the internal to the external side, without those that a fault kept from it",
        "bytes_in": "bytes carried from the external to the internal side, likewise",
        "bytes_lost": "bytes that the internal side had acknowledged and the external side never took",
        "duration_s": "from accept to end, in seconds",
        "granted_after_s": "from accept until its initiator was granted the connection, in seconds; null if it never "
        "was",
    },
    "fault": {
        "error": "what failed inside the relay or a behaviour; over plain HTTP also what was malformed",
        "traceback": "where it failed, as Python prints it; null for what was malformed",
    },
}
"""Every event's own fields and their meaning. `COMMON_FIELDS` are those that all have."""

Kind: TypeAlias = tuple[type, ...]
"""What a field's value is."""
COUNT: Kind = (int,)
NUMBER: Kind = (int, float)
KINDS: Mapping[str, Kind] = {
    **dict.fromkeys(("flows", "flows_ended", "records", "worker", "pid", "seed", "workers", "bytes", "limit"), COUNT),
    **dict.fromkeys(("bytes_out", "bytes_in", "bytes_lost", "unacked_bytes", "probes", "datagrams"), COUNT),
    **dict.fromkeys(("syn", "old", "new", "syn_precedence", "new_precedence", "reference"), COUNT),
    **dict.fromkeys(("time_scale", "value"), NUMBER),
    **dict.fromkeys(("forwards", "inbound", "settings", "wire", "effects"), (list,)),
    "fidelity": (dict,),
}
"""What those fields are, by name, that are not text; of others, those that end in `_s` are numbers of seconds."""

MAYBE_NULL = frozenset(
    {
        *("forward", "listen", "answer", "failure", "local", "destination", "granted_after_s", "traceback"),
        *("new", "new_precedence", "reference", "internal", "external", "internal_because", "external_because"),
    }
)
"""The fields that may be null."""


def kind_of(field: str) -> Kind:
    """What a field of this name holds, where it is not null."""
    return KINDS.get(field) or (NUMBER if field.endswith("_s") else (str,))


COMMON_FIELDS: Mapping[str, str] = {
    "at": "wall-clock time, ISO 8601, UTC",
    "at_s": "seconds since the relay started, on the NAT's clock: `--time-scale` and `nat.advance` move it faster",
    "event": "the event's name",
    "flow": "the flow's number, or null",
    "process": "pid and name of the process that owns the internal socket, or null where the host cannot tell",
    "carried": "how many bytes the flow had carried by then: a list of those to the external side and those to the "
    "internal side, where bytes that a fault delays count once they are sent; null without a flow",
}
