"""The event log as tests read it: its flows, and what waiting for a record says when there is none."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from relay.errors import ConfigError
from relay.log.memory import Records
from relay.log.record import Record

OPENED = {"via": "socks5", "client": "127.0.0.1:40000", "destination": "192.0.2.1:22"}


def opened(flow: int, process: tuple[int, str] | None = None) -> Record:
    return Record("flow-opened", 0.5, flow, process, OPENED)


@pytest.fixture
def records() -> Records:
    """Two flows, of which the second has a FIN."""
    records = Records()
    for record in (
        opened(2),
        Record("link-down", 0.75, None, None, {}),
        opened(1, (42, "ssh")),
        Record("fin-received", 1.0, 2, None, {"side": "external"}),
    ):
        records(record)
    return records


def test_each_flow_has_its_records_and_tells_what_they_say(records: Records) -> None:
    one, two = records.flows()
    assert [(flow.number, [record.event for record in flow.records]) for flow in (one, two)] == [
        (1, ["flow-opened"]),
        (2, ["flow-opened", "fin-received"]),
    ]
    assert (one.destination, one.process, one.ending) == ("192.0.2.1:22", (42, "ssh"), None)
    assert two.process is None


def test_a_flow_that_never_asked_has_no_destination() -> None:
    records = Records()
    records(Record("fin-received", 1.0, 7, None, {"side": "internal"}))
    assert [flow.destination for flow in records.flows()] == [""]


def test_waiting_finds_the_record_of_the_fields_and_the_flow_that_are_meant(records: Records) -> None:
    assert records.wait_for("flow-opened", {}).flow == 2
    assert records.wait_for("flow-opened", {"via": "socks5"}, flow=1).process == (42, "ssh")
    assert records.wait_for("fin-received", {"side": "server"}).at_s == 1.0


def test_waiting_ends_with_the_record(records: Records) -> None:
    late = threading.Timer(0.02, lambda: records(Record("link-down", 2.0, 9, None, {})))
    late.start()
    assert records.wait_for("link-down", {}, flow=9, timeout_s=60).at_s == 2.0
    late.join()


@pytest.mark.parametrize(
    ("wait", "told"),
    [
        (lambda records: records.wait_for("timed-out", {}, timeout_s=0.01), "no timed-out within 0.01 s;"),
        (
            lambda records: records.wait_for("fin-received", {"side": "internal"}, flow=2, timeout_s=0.01),
            "no fin-received (side='internal', flow=2) within 0.01 s;",
        ),
    ],
)
def test_waiting_in_vain_says_for_what_and_what_happened_instead(
    wait: Callable[[Records], object], told: str, records: Records
) -> None:
    with pytest.raises(AssertionError) as caught:
        wait(records)
    head, *lines = str(caught.value).splitlines()
    assert head == f"{told} what happened:"
    assert len(lines) == 4
    assert lines[-1] == "     1.000 s  #2  FIN from the server"


def test_nothing_is_waited_for_once_the_relay_has_stopped(records: Records) -> None:
    records.demand_more()
    records.complete("the relay has stopped")
    with pytest.raises(AssertionError, match="no timed-out before the relay stopped"):
        records.wait_for("timed-out", {}, timeout_s=60)
    with pytest.raises(RuntimeError, match="the relay has stopped"):
        records.demand_more()


@pytest.mark.parametrize(
    ("event", "fields", "told", "hint"),
    [
        ("fin-recieved", {}, "there is no event 'fin-recieved'", "did you mean 'fin-received'? the events: "),
        ("fin-received", {"sid": 1}, "fin-received has no field 'sid'", "did you mean 'side'? it has: side"),
        ("link-down", {"side": 1}, "link-down has no field 'side'", "it has: none"),
    ],
)
def test_what_can_never_come_is_an_error_at_once(
    event: str, fields: dict[str, object], told: str, hint: str, records: Records
) -> None:
    with pytest.raises(ConfigError) as caught:
        records.wait_for(event, fields)
    assert str(caught.value) == f"wait_for: {told}"
    assert (caught.value.hint or "").startswith(hint)
