"""The event log as a person reads it: every event has its sentence, and a line names time, flow and process."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from relay.log import FIELDS, Record
from relay.log.text import TextLines, describe

SENTENCES: dict[str, list[tuple[dict[str, Any], str]]] = {
    "relay-started": [({"profile": "vmware-fusion-11"}, "relay started with profile vmware-fusion-11")],
    "relay-draining": [
        ({"flows": 2, "at_most_s": 2.5}, "stopping: 2 flows have 2.5 s; Ctrl-C again ends them now"),
        ({"flows": 1, "at_most_s": 5.0}, "stopping: 1 flow has 5 s; Ctrl-C again ends it now"),
    ],
    "relay-stopped": [
        ({"flows_ended": 3}, "relay stopped; it reset 3 flows"),
        ({"flows_ended": 1}, "relay stopped; it reset 1 flow"),
    ],
    "worker-started": [({"worker": 2, "pid": 4121}, "worker 2 serves, process 4121")],
    "worker-died": [
        (
            {"worker": 2, "pid": 4121, "status": "SIGKILL"},
            "worker 2, process 4121, died with its flows: SIGKILL",
        ),
    ],
    "records-dropped": [
        ({"records": 1}, "1 record is missing here: this log was read too slowly"),
        ({"records": 2}, "2 records are missing here: this log was read too slowly"),
    ],
    "accept-paused": [({"reason": "too many open files"}, "cannot accept connections for now: too many open files")],
    "accept-resumed": [({}, "accepting connections again")],
    "ping-unavailable": [
        (
            {"remedy": "run it as root"},
            "pings are not answered, for this host lets the relay send none: run it as root",
        ),
    ],
    "flow-refused": [
        (
            {"client": "127.0.0.1:5", "reason": "2 flows are open, as many as --max-flows allows"},
            "127.0.0.1:5 is refused: 2 flows are open, as many as --max-flows allows",
        ),
    ],
    "handshake-failed": [
        (
            {"client": "127.0.0.1:5", "reason": "no request within 10 s"},
            "127.0.0.1:5 sent no valid request: no request within 10 s",
        ),
    ],
    "name-resolved": [
        (
            {"client": "127.0.0.1:5", "name": "a.test", "answer": "192.0.2.7", "failure": None},
            "127.0.0.1:5 asks to resolve a.test: 192.0.2.7",
        ),
        (
            {"client": "127.0.0.1:5", "name": "192.0.2.7", "answer": None, "failure": "name not resolved"},
            "127.0.0.1:5 asks to resolve 192.0.2.7: name not resolved",
        ),
    ],
    "association-opened": [
        (
            {"client": "127.0.0.1:5", "address": "127.0.0.1:6"},
            "127.0.0.1:5 may send datagrams to 127.0.0.1:6",
        ),
    ],
    "association-refused": [
        (
            {"client": "127.0.0.1:5", "reason": "127.0.0.1 has as many as it may"},
            "127.0.0.1:5 may send no datagrams: 127.0.0.1 has as many as it may",
        ),
    ],
    "datagrams-dropped": [
        ({"reason": "a fragment", "datagrams": 1}, "1 datagram dropped so far: a fragment"),
        ({"reason": "cut off", "datagrams": 2}, "2 datagrams dropped so far: cut off"),
    ],
    "bind-opened": [
        (
            {"client": "127.0.0.1:5", "address": "127.0.0.1:6", "peer": "192.0.2.7"},
            "127.0.0.1:5 waits at 127.0.0.1:6 for a connection from 192.0.2.7",
        ),
    ],
    "peer-refused": [
        (
            {"peer": "192.0.2.8:5", "expected": "192.0.2.7"},
            "192.0.2.8:5 has connected and is reset: 192.0.2.7 alone may",
        ),
    ],
    "bind-failed": [
        (
            {"client": "127.0.0.1:5", "failure": "timed out", "detail": "192.0.2.7 did not connect within 30 s"},
            "127.0.0.1:5 waits no more: timed out (192.0.2.7 did not connect within 30 s)",
        ),
    ],
    "flow-opened": [
        (
            {"via": "socks5", "client": "127.0.0.1:5", "destination": "a.test:80"},
            "127.0.0.1:5 asks for a.test:80 via socks5",
        ),
    ],
    "flow-connected": [({"address": "[::1]:80", "dial_s": 0.0125}, "connected to [::1]:80 in 12.5 ms")],
    "mapping-opened": [({"local": "0.0.0.0:5"}, "mapped to 0.0.0.0:5")],
    "dial-failed": [
        (
            {"failure": "refused", "detail": "127.0.0.1:1: ECONNREFUSED"},
            "not connected: refused (127.0.0.1:1: ECONNREFUSED)",
        ),
    ],
    "dial-delayed": [({"by_s": 3.0, "because": "slow-dial"}, "the dial begins 3 s later, by slow-dial")],
    "dial-abandoned": [({"because": "precomplete-handshake"}, "dial abandoned, by precomplete-handshake")],
    "initiator-vanished": [({}, "the client went away before it was connected")],
    "syn-unknown": [
        (
            {"side": "internal", "reference": 0x48},
            "the SYN of the app is not known: TOS 0x48 of the next segment stands for it",
        ),
        ({"side": "internal", "reference": None}, "the SYN of the app is not known: no change is seen"),
    ],
    "tos-changed": [
        (
            {"side": "internal", "syn": 0, "old": 0x10, "new": 0x48, "syn_precedence": 0, "new_precedence": 2},
            "TOS 0x10 -> 0x48 from the app, precedence 0 -> 2 (its SYN's was 0)",
        ),
        (
            {"side": "internal", "syn": 0x48, "old": 0x48, "new": None, "syn_precedence": 2, "new_precedence": None},
            "TOS differs from the SYN's 0x48, from the app",
        ),
    ],
    "keepalive-probe": [({"side": "internal"}, "keepalive probe from the app")],
    "probe-sent": [
        ({"side": "external", "because": "local-keepalive"}, "keepalive probe to the server, by local-keepalive")
    ],
    "probe-answered": [({"side": "external"}, "the server has answered the keepalive probe")],
    "fin-received": [({"side": "external"}, "FIN from the server")],
    "rst-received": [
        ({"side": "external", "unacked_bytes": 0}, "RST from the server"),
        ({"side": "external", "unacked_bytes": 7}, "RST from the server (7 B never acknowledged)"),
    ],
    "timed-out": [
        ({"side": "external", "unacked_bytes": 0}, "the server stopped answering"),
        ({"side": "external", "unacked_bytes": 7}, "the server stopped answering (7 B never acknowledged)"),
    ],
    "link-down": [({}, "the link went down")],
    "frozen": [({"side": "external"}, "the server is frozen")],
    "thawed": [({"side": "external"}, "the server is thawed")],
    "settings-changed": [({"settings": ["a.b=1", "a.c=2"]}, "from now on a.b=1, a.c=2")],
    "forward-changed": [
        ({"forward": "127.0.0.1:1", "settings": ["a.b=1", "a.c=2"]}, "at 127.0.0.1:1 from now on a.b=1, a.c=2"),
        ({"forward": "127.0.0.1:1", "settings": []}, "at 127.0.0.1:1 from now on what the relay has"),
    ],
    "fault-set": [
        (
            {"name": "slow", "side": "internal", "effects": ["delay_s=0.1", "share=0.5"], "forward": None},
            "fault slow is set, toward the app: delay_s=0.1, share=0.5",
        ),
        (
            {"name": "none", "side": "external", "effects": [], "forward": "127.0.0.1:8080"},
            "fault none is set on the forward at 127.0.0.1:8080, toward the server: no effect",
        ),
    ],
    "fault-lifted": [
        ({"name": "slow", "forward": None}, "fault slow is lifted"),
        ({"name": "slow", "forward": "127.0.0.1:8080"}, "fault slow is lifted on the forward at 127.0.0.1:8080"),
    ],
    "shape-changed": [
        (
            {"side": "internal", "effects": ["delay_s=0.1", "stall=true"], "because": "latency"},
            "what goes to the app: delay_s=0.1, stall=true, by latency",
        ),
        (
            {"side": "external", "effects": [], "because": "fault slow"},
            "what goes to the server: no fault any more, by fault slow",
        ),
    ],
    "keepalive-presumed": [
        (
            {"side": "internal", "probes": 5, "every_s": 60.0, "known_by": "the socket's options"},
            "keepalive of the app: 5 probes, 60 s apart, count as sent by then (known by the socket's options)",
        )
    ],
    "not-advanced": [({"what": "a kernel's timer"}, "not moved on with the NAT's clock: a kernel's timer")],
    "time-advanced": [({"by_s": 300.0}, "the NAT's clock was moved on by 300 s")],
    "chance-drawn": [({"value": 0.25, "because": "reminder"}, "reminder drew 0.250000")],
    "slot-awaited": [
        (
            {"pool": "dials", "limit": 10, "per": "relay", "because": "pending-limit"},
            "waits for its turn: all 10 dials are taken, by pending-limit",
        ),
    ],
    "slot-denied": [
        (
            {"pool": "flows", "limit": 128, "per": "destination", "because": "flow-limit"},
            "no room: all 128 flows to this destination are taken, by flow-limit",
        ),
    ],
    "fin-sent": [({"side": "external", "because": "tos-reset"}, "FIN to the server, by tos-reset")],
    "rst-sent": [({"side": "internal", "because": "tos-reset"}, "RST to the app, by tos-reset")],
    "blackholed": [
        (
            {"side": "internal", "because": "close-mapping"},
            "what the app sends gets no answer any more, by close-mapping",
        ),
    ],
    "forgotten": [
        (
            {"side": "internal", "then": "reset", "because": "idle-timeout"},
            "the app is forgotten, by idle-timeout: its next segment gets RST",
        ),
        (
            {"side": "external", "then": "silence", "because": "idle-timeout"},
            "the server is forgotten, by idle-timeout: what it sends gets no answer",
        ),
    ],
    "bytes-lost": [({"bytes": 9, "because": "local-ack"}, "9 B were acknowledged and are lost, by local-ack")],
    "note": [({"text": "still here?", "because": "reminder"}, "reminder: still here?")],
    "action-dropped": [
        (
            {"action": "SendFin(side=internal)", "because": "reminder"},
            "reminder asked too late for SendFin(side=internal)",
        )
    ],
    "flow-ended": [
        (
            {
                "destination": "127.0.0.1:22",
                "because": "tos-reset",
                "internal": "rst",
                "internal_because": "tos-reset",
                "external": "fin",
                "external_because": "tos-reset",
                "bytes_out": 2642,
                "bytes_in": 2138,
                "bytes_lost": 0,
                "duration_s": 2.3214,
            },
            "ended by tos-reset: 127.0.0.1:22, app rst by tos-reset, server fin by tos-reset, "
            "2642 B out, 2138 B in, 2.321 s",
        ),
        (
            {
                "destination": "127.0.0.1:22",
                "because": "next-request",
                "internal": "handed-over",
                "internal_because": "next-request",
                "external": "rst",
                "external_because": "peer",
                "bytes_out": 5,
                "bytes_in": 0,
                "bytes_lost": 5,
                "duration_s": 0.5,
            },
            "ended by next-request: 127.0.0.1:22, app handed-over by next-request, server rst by peer, "
            "5 B out, 0 B in, 5 B lost, 0.500 s",
        ),
        (
            {
                "destination": None,
                "because": "handshake-failed",
                "internal": "fin",
                "internal_because": "handshake-failed",
                "external": None,
                "external_because": None,
                "bytes_out": 0,
                "bytes_in": 0,
                "bytes_lost": 0,
                "duration_s": 0.5,
            },
            "ended by handshake-failed: no destination, app fin by handshake-failed, 0 B out, 0 B in, 0.500 s",
        ),
    ],
    "fault": [({"error": "ValueError: no"}, "fault: ValueError: no")],
}


def record(event: str, *, flow: int | None = None, process: tuple[int, str] | None = None) -> Record:
    return Record(event, 1.25, flow, process, SENTENCES[event][0][0])


def lines_of(*records: Record, colour: bool) -> list[str]:
    started_at = datetime(2026, 1, 31, 12, 0, 0).astimezone().timestamp()
    return list(map(TextLines(started_at, colour=colour), records))


@pytest.mark.parametrize(
    ("event", "fields", "sentence"),
    [(event, fields, sentence) for event, cases in SENTENCES.items() for fields, sentence in cases],
)
def test_each_event_is_one_sentence(event: str, fields: dict[str, Any], sentence: str) -> None:
    assert describe(Record(event, 0.0, None, None, fields)) == sentence


def test_no_event_is_without_a_sentence() -> None:
    assert SENTENCES.keys() == FIELDS.keys()


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"side": "internal", "bytes": 4, "because": "herald"}, "bytes injected, the app, bytes=4, by herald"),
        ({"name": "a\nb"}, "bytes injected, name=a\\nb"),
        ({}, "bytes injected"),
    ],
)
def test_an_event_without_a_sentence_of_its_own_is_put_in_words_by_its_fields(
    fields: dict[str, Any], sentence: str
) -> None:
    assert describe(Record("bytes-injected", 0.0, None, None, fields)) == sentence


def test_a_line_tells_the_local_time_the_flow_and_the_process() -> None:
    assert lines_of(
        record("link-down"),
        record("fin-received", flow=7),
        record("fin-received", flow=7, process=(4121, "ssh")),
        colour=False,
    ) == [
        "12:00:01.250  the link went down",
        "12:00:01.250  #7  FIN from the server",
        "12:00:01.250  #7  ssh[4121]  FIN from the server",
    ]


def test_a_process_may_call_itself_anything_and_the_line_stays_one() -> None:
    name = "\x1b[2J\nss\u2028h"
    assert lines_of(record("link-down", flow=7, process=(4121, name)), colour=False) == [
        "12:00:01.250  #7  \\x1b[2J\\nss\\u2028h[4121]  the link went down",
    ]
    assert describe(Record("fault", 0.0, None, None, {"error": "a\r\nb"})) == "fault: a\\r\\nb"


def test_loud_events_are_red_quiet_ones_dim_and_the_others_plain() -> None:
    red, dim, plain = "\x1b[31m", "\x1b[2m", "\x1b[0m"
    assert lines_of(record("rst-sent"), record("fin-sent"), record("flow-opened"), colour=True) == [
        f"{red}12:00:01.250  RST to the app, by tos-reset{plain}",
        f"{dim}12:00:01.250  FIN to the server, by tos-reset{plain}",
        "12:00:01.250  127.0.0.1:5 asks for a.test:80 via socks5",
    ]


def test_every_event_with_a_colour_exists() -> None:
    coloured = {event for event in FIELDS if "\x1b" in lines_of(record(event), colour=True)[0]}
    assert {"rst-sent", "bytes-lost", "blackholed", "forgotten", "fault", "accept-paused", "link-down"} <= coloured
    assert all("\x1b" not in lines_of(record(event), colour=False)[0] for event in FIELDS)
