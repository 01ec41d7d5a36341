"""What a flow's records become on a ladder: each a step, bytes and folded times between them, in the order of time."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from relay.ladder import Kind, Step, runs_of
from support.drawn import shown
from support.flow_records import Told, plain_flow, reset_flow


@pytest.fixture
def told() -> Told:
    return Told()


def steps(told: Told, flow: int = 1) -> list[Step]:
    run, *_ = runs_of(told.records)
    return list(next(ladder.steps for ladder in run.ladders if ladder.number == flow))


def drawn(told: Told) -> list[str]:
    """All steps, but for the last one of a flow that is open."""
    return [shown(step) for step in steps(told) if not step.label.startswith("open when the log ends")]


def test_a_reset_shows_who_said_what_to_whom_and_which_rule_did_it(told: Told) -> None:
    reset_flow(told)
    assert drawn(told) == [
        "app > NAT: SYN, answered by the kernel",
        "      NAT > server: SYN",
        "      NAT < server: SYN-ACK after 1.0 ms",
        "*: nothing for 0.522 s",
        "app > NAT: TOS 0x48 -> 0x20, precedence 2 -> 1; its SYN had 2",
        "app ------> server: 3,489 B",
        "app <------ server: 3,365 B",
        "app < NAT: RST, by tos-reset",
        "*: nothing for 0.112 s",
        "      NAT > server: FIN, by tos-reset",
        "      NAT < server: FIN",
        "*: ended by tos-reset: 127.0.0.1:22, app rst by tos-reset, server fin by tos-reset, "
        "3489 B out, 3365 B in, 0.644 s",
    ]
    times = [step.at_s for step in steps(told)]
    assert times == pytest.approx([0, 0.001, 0.002, None, 0.524, None, None, 0.525, None, 0.637, 0.644, 0.644])


def test_bytes_are_those_since_the_record_before_and_the_total_so_far(told: Told) -> None:
    told.open(0.0)
    told.connect(0.0, dial_s=0.0)
    told(0.01, "keepalive-probe", carried=(10, 0), side="internal")
    told(0.02, "keepalive-probe", carried=(1010, 0), side="external")
    assert drawn(told)[3:] == [
        "app ------> server: 10 B",
        "app > NAT: keepalive probe",
        "app ------> server: 1,000 B (1,010 B so far)",
        "      NAT < server: keepalive probe",
    ]


def test_bytes_of_a_log_that_counts_them_at_the_end_alone_are_shown_there(told: Told) -> None:
    told.open(0.0)
    told.connect(0.0, dial_s=0.0)
    told.end(0.02, because="internal-peer")
    ended = told.records[-1]
    told.records[-1] = replace(ended, fields={**ended.fields, "bytes_in": 5})
    assert drawn(told)[3] == "app <------ server: 5 B"


def test_a_long_time_without_a_record_is_folded_and_says_so(told: Told) -> None:
    told.open(0.0)
    told.connect(0.0, dial_s=0.0)
    told(7200.0, "keepalive-probe", side="internal")
    told(7300.0, "keepalive-probe", carried=(5, 0), side="internal")
    assert drawn(told)[3:] == [
        "*: nothing for 7,200.0 s",
        "app > NAT: keepalive probe",
        "*: 100.0 s, in which",
        "app ------> server: 5 B",
        "app > NAT: keepalive probe",
    ]


def test_a_probe_is_answered_by_the_behaviour_that_says_so(told: Told) -> None:
    told.open(0.0)
    told(0.01, "keepalive-probe", side="internal")
    told(0.01, "note", text="answered by the NAT, not the server", because="local-keepalive")
    told(0.02, "note", text="something else", because="other")
    assert drawn(told)[1:] == [
        "app > NAT: keepalive probe",
        "app < NAT: ACK: answered by the NAT, not the server, by local-keepalive",
        "*: other: something else",
    ]


def test_a_probe_that_is_passed_on_is_answered_by_the_server(told: Told) -> None:
    told.open(0.0)
    told(0.01, "keepalive-probe", side="internal")
    told(0.01, "probe-sent", side="external", because="local-keepalive")
    told(0.02, "probe-answered", side="external")
    assert drawn(told)[1:] == [
        "app > NAT: keepalive probe",
        "      NAT > server: keepalive probe, by local-keepalive",
        "      NAT < server: ACK: the answer to the probe",
    ]


def test_what_comes_over_and_over_is_folded(told: Told) -> None:
    told.open(0.0)
    for number in range(50):
        told(0.01 * number, "keepalive-probe", side="internal")
        told(0.01 * number, "note", text="answered", because="local-keepalive")
    lines = drawn(told)
    assert lines.count("app > NAT: keepalive probe") == 3
    assert "*: the same 47 times more, until 0.480 s" in lines
    assert len(lines) == 1 + 3 * 2 + 1


@pytest.mark.parametrize(
    ("via", "granted_after_s", "expected"),
    [
        ("socks5", 0.3, ["socks5 request", "SYN", "SYN-ACK after 100.0 ms", "connected"]),
        ("socks5", 0.0, ["socks5 request", "connected", "SYN", "SYN-ACK after 100.0 ms"]),
        ("socks5", 0.25, ["socks5 request", "SYN", "connected", "SYN-ACK after 100.0 ms"]),
        ("socks5", None, ["socks5 request", "SYN", "SYN-ACK after 100.0 ms"]),
        ("wire", 0.3, ["SYN", "SYN", "SYN-ACK after 100.0 ms", "SYN-ACK"]),
        ("forward", 0.3, ["SYN, answered by the kernel", "SYN", "SYN-ACK after 100.0 ms"]),
    ],
    ids=["external-first", "internal-first", "between", "never", "wire", "forward"],
)
def test_the_order_of_the_two_handshakes_is_that_of_their_times(
    told: Told, via: str, granted_after_s: float | None, expected: list[str]
) -> None:
    told.open(5.0, via=via)
    told.connect(5.3, dial_s=0.1)
    told.end(6.0, duration_s=1.0, granted_after_s=granted_after_s)
    opening = [step.label for step in steps(told) if step.kind is Kind.OPEN]
    assert opening == expected


def test_a_grant_and_a_dial_at_the_same_microsecond_keep_their_order(told: Told) -> None:
    told.open(5.0, via="socks5")
    told.connect(5.1, dial_s=0.1)
    told.end(6.0, duration_s=1.0, granted_after_s=0.000001)
    assert [step.label for step in steps(told)][:3] == ["socks5 request", "connected", "SYN"]


def test_an_inbound_flow_begins_at_the_server(told: Told) -> None:
    told.open(0.0, via="inbound")
    told.connect(0.01)
    told(0.02, "fin-received", carried=(1, 2), side="external")
    assert drawn(told)[:6] == [
        "      NAT < server: SYN, answered by the kernel",
        "app < NAT: SYN",
        "app > NAT: SYN-ACK after 1.0 ms",
        "app <------ server: 2 B",
        "app ------> server: 1 B",
        "      NAT < server: FIN",
    ]


@pytest.mark.parametrize(
    ("event", "fields", "expected"),
    [
        (
            "tos-changed",
            {"side": "external", "syn": 0, "old": 0, "new": None},
            "      NAT < server: TOS differs from the SYN's 0x00",
        ),
        ("rst-received", {"side": "external", "unacked_bytes": 0}, "      NAT < server: RST"),
        (
            "rst-received",
            {"side": "internal", "unacked_bytes": 12345},
            "app > NAT: RST; 12,345 B were never acknowledged",
        ),
        ("timed-out", {"side": "external", "unacked_bytes": 0}, "      NAT > server: no answer any more x"),
        ("blackholed", {"side": "internal", "because": "idle-timeout"}, "app > NAT: gets no answer, by idle-timeout x"),
        (
            "forgotten",
            {"side": "external", "then": "silence", "because": "b"},
            "      NAT < server: forgotten: gets no answer, by b x",
        ),
        (
            "forgotten",
            {"side": "internal", "then": "reset", "because": "b"},
            "app > NAT: forgotten: the next gets RST, by b x",
        ),
        (
            "bytes-lost",
            {"bytes": 1500, "because": "local-ack"},
            "      NAT > server: 1,500 B that it acknowledged never arrive, by local-ack x",
        ),
        (
            "dial-failed",
            {"failure": "refused", "detail": "ECONNREFUSED"},
            "      NAT > server: not connected: refused (ECONNREFUSED) x",
        ),
        ("dial-failed", {"failure": "name not resolved", "detail": "no.test"}, "*: name not resolved (no.test)"),
        (
            "dial-abandoned",
            {"because": "precomplete-handshake"},
            "      NAT > server: dial given up, by precomplete-handshake x",
        ),
        ("initiator-vanished", {}, "app > NAT: RST, before it is connected"),
        ("handshake-failed", {"client": "127.0.0.1:1", "reason": "no"}, "app > NAT: no valid request: no"),
        (
            "shape-changed",
            {"side": "internal", "effects": ["delay_s=0.1"], "because": "latency"},
            "*: what goes to the app: delay_s=0.1, by latency",
        ),
        ("dial-delayed", {"by_s": 3.0, "because": "slow-dial"}, "*: the dial begins 3 s later, by slow-dial"),
        ("chance-drawn", {"value": 0.5, "because": "gambler"}, "*: gambler drew 0.500000"),
        (
            "syn-unknown",
            {"side": "external", "reference": None},
            "*: the SYN of the server is not known: no change is seen",
        ),
        ("fault", {"error": "ValueError: no"}, "*: fault: ValueError: no"),
    ],
)
def test_every_event_has_its_step(told: Told, event: str, fields: dict[str, Any], expected: str) -> None:
    told.open(0.0)
    told(0.01, event, **fields)
    assert drawn(told)[1:] == [expected]


def test_how_a_side_ends_without_a_record_is_shown_at_the_end(told: Told) -> None:
    told.open(0.0)
    told(0.01, "dial-failed", failure="refused", detail="")
    told.end(0.01, because="destination", internal="refused", external=None)
    assert drawn(told)[-2] == "app < NAT: refused, by destination"


def test_what_happens_to_the_whole_relay_is_in_the_flows_that_are_open_then(told: Told) -> None:
    told.open(1.0, 1)
    told(1.01, "frozen", None, side="external")
    told.open(1.02, 2)
    told(1.03, "link-down", None)
    told(1.03, "time-advanced", None, by_s=60.0)
    told.end(1.04, 1)
    told(1.05, "thawed", None, side="external")
    told.end(1.06, 2)
    first, second = (
        [step.label for step in steps(told, flow) if step.kind in {Kind.SILENCE, Kind.NOTE}] for flow in (1, 2)
    )
    both = ["the link went down", "the NAT's clock was moved on by 60 s"]
    assert first == ["the server is frozen", *both]
    assert second == [*both, "the server is thawed"]


def test_a_flow_that_is_open_says_so(told: Told) -> None:
    told.open(0.0)
    told(0.02, "fin-received", carried=(3, 4), side="internal")
    assert steps(told)[-1] == Step(Kind.END, None, "open when the log ends, 3 B out, 4 B in")


def test_a_plain_flow_is_nothing_remarkable_and_one_that_a_behaviour_touched_is(told: Told) -> None:
    plain_flow(told, 1)
    reset_flow(told, 2)
    told.open(3.0, 3)
    plain_flow(told, 4, at_s=4.0)
    ladders = runs_of(told.records)[0].ladders
    assert [ladder.is_remarkable for ladder in ladders] == [False, True, True, False]
    assert [ladder.by_behaviour for ladder in ladders] == [False, True, False, False]
    told.open(4.0, 5)
    told(4.1, "rst-sent", 5, side="internal", because="idle-timeout")
    told.end(4.1, 5, because="idle-timeout", internal="rst")
    assert runs_of(told.records)[0].ladders[4].is_remarkable
    told(5.0, "note", 4, text="text", because="b")
    assert runs_of(told.records)[0].ladders[3].is_remarkable


def test_a_file_of_several_runs_has_the_flows_of_each(told: Told) -> None:
    plain_flow(told, 9)
    for _ in range(2):
        told.start()
        plain_flow(told, 1)
    runs = runs_of(told.records)
    assert [run.profile for run in runs] == ["", "vmware-fusion-11", "vmware-fusion-11"]
    assert [[ladder.number for ladder in run.ladders] for run in runs] == [[9], [1], [1]]


def test_a_connection_that_a_client_waited_for_begins_at_the_server(told: Told) -> None:
    told.open(0.0, via="socks4-bind")
    assert drawn(told) == ["      NAT < server: SYN, answered by the kernel"]


def test_a_mapping_of_datagrams_begins_with_one(told: Told) -> None:
    told.open(0.0, via="socks5-udp")
    told(0.0, "mapping-opened", local="0.0.0.0:50000")
    assert drawn(told) == ["app > NAT: its first datagram", "*: mapped to 0.0.0.0:50000"]
