"""Conditions of behaviours, through a driver without a socket: which connections have a behaviour, and what the others
pay for it."""

from __future__ import annotations

from typing import Any

import pytest

from relay.address import Endpoint
from relay.control import SetSeed
from relay.events import Side
from relay.frontends.forward import ForwardConversation
from relay.legs import Process
from relay.legs.outbox import Outbox
from relay.log import EventLog
from relay.profiles import load_profile
from relay.testing import MemoryLeg
from support.memory_driver import MemoryDriver, forward, proxy

API, OTHER = Endpoint("api.test", 80), Endpoint("192.0.2.9", 81)


def is_late(nat: MemoryDriver, destination: Endpoint = API) -> bool:
    """Whether a new connection to this destination has the latency of 1 s."""
    app = nat.call(forward(destination=destination))
    server = nat.answer()
    app.says(b"x")
    nat.advance(0.5)
    return server.hears() == b""


def late(*conditions: str, seed: int = 0) -> MemoryDriver:
    return MemoryDriver("transparent", "latency.delay_s=1", *(f"latency.when.{each}" for each in conditions), seed=seed)


def test_a_behaviour_is_there_for_the_destinations_that_fit() -> None:
    nat = late("host=*.test", "port=80")
    assert [is_late(nat, each) for each in (API, OTHER, Endpoint("api.test", 81))] == [True, False, False]


def test_what_a_client_of_the_proxy_asks_for_decides() -> None:
    nat = late("host=one.test")
    for host, heard in (("one", b""), ("two", b"x")):
        client = nat.call(proxy())
        client.says(f"CONNECT {host}.test:443 HTTP/1.1\r\nHost: {host}.test\r\n\r\n".encode())
        nat.settle()
        server = nat.answer()
        client.says(b"x")
        nat.advance(0.5)
        assert server.hears() == heard


def test_each_request_of_plain_http_is_decided_by_its_own_host() -> None:
    nat = late("host=two.test")
    client = nat.call(proxy())
    heard = []
    for host in ("one", "two"):
        client.says(f"GET http://{host}.test/ HTTP/1.1\r\nHost: {host}.test\r\n\r\n".encode())
        nat.settle()
        server = nat.answer()
        heard.append(server.hears() != b"")
        nat.advance(1.1)
        server.hears()
        server.says(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        nat.advance(1.1)
    assert heard == [True, False]


def test_a_client_s_next_request_does_not_suffer_what_only_the_last_ones_host_has() -> None:
    nat = late("host=one.test")
    client = nat.call(proxy())
    waited = []
    for host in ("one", "two"):
        client.says(f"GET http://{host}.test/ HTTP/1.1\r\nHost: {host}.test\r\n\r\n".encode())
        nat.advance(1.1)
        server = nat.answer()
        nat.advance(1.1)
        server.says(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        nat.settle()
        waited.append(client.hears() == b"")
        nat.advance(1.1)
        client.hears()
    assert waited == [True, False]


def test_what_the_relay_counts_for_all_and_a_forward_for_itself_are_two_counts() -> None:
    one, two = Endpoint("127.0.0.1", 1), Endpoint("127.0.0.1", 2)

    def found(settings: tuple[str, ...], of_forwards: tuple[str, ...]) -> list[bool]:
        nat = MemoryDriver("transparent", *settings)
        for each in (one, two):
            nat.driver.forward_profiles[each] = load_profile("transparent", of_forwards)
        late_ones = []
        for by in (one, two, one):
            app = nat.call(ForwardConversation(API, Side.INTERNAL, by))
            server = nat.answer()
            app.says(b"x")
            nat.advance(0.5)
            late_ones.append(server.hears() == b"")
        return late_ones

    second = ("latency.delay_s=1", "latency.when.nth=2")
    assert found(second, second) == [False, True, False]
    assert found((), second) == [False, False, True]


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        (["nth=2"], [False, True, False, False]),
        (["first=2"], [True, True, False, False]),
        (["nth=2", "host=api.test"], [False, False, True, False]),
    ],
)
def test_the_connections_that_fit_are_counted(conditions: list[str], expected: list[bool]) -> None:
    nat = late(*conditions)
    found = [is_late(nat, each) for each in (API, OTHER, API, API)]
    assert found == expected


def test_a_new_seed_begins_to_count_anew() -> None:
    nat = late("first=1")
    assert [is_late(nat), is_late(nat)] == [True, False]
    nat.driver.reseed(SetSeed(3).seed)
    assert [is_late(nat), is_late(nat)] == [True, False]


def test_a_share_of_the_connections_draws_once_each_and_the_seed_repeats_it() -> None:
    def drawn(seed: int) -> list[bool]:
        nat = late("share=0.5", seed=seed)
        found = [is_late(nat) for _ in range(40)]
        draws = [record.fields for record in nat.records if record.event == "chance-drawn"]
        assert [fields["value"] < 0.5 for fields in draws] == found
        assert {fields["because"] for fields in draws} == {"latency"}
        return found

    assert drawn(1) == drawn(1) != drawn(2)
    assert 10 <= sum(drawn(1)) <= 30


def test_a_connection_that_no_condition_fits_pays_nothing() -> None:
    nat = MemoryDriver(
        "vmware-fusion", "latency.when.port=81", "tos-reset.when.port=81", "idle-timeout.when.port=81", "cut.after_s=9",
        "cut.when.port=81",
    )  # fmt: skip
    bare = MemoryDriver("vmware-fusion", "tos-reset.enabled=false")
    watched = []
    for each in (nat, bare):
        each.call(forward(destination=API))
        each.answer()
        (flow,) = each.driver.flows.values()
        assert not any(isinstance(leg, Outbox) for leg in flow.legs)
        assert (flow.saw_data, flow.idleness, flow.has_timers) == (None, None, False)
        (leg,) = (leg for leg in flow.legs if leg.side is Side.INTERNAL)
        assert isinstance(leg, MemoryLeg)
        watched.append(leg._sight._wants)
    assert watched[0] == watched[1], "the leg is not asked for what only a behaviour wants that is not there"
    nat.call(forward(destination=OTHER))
    nat.answer()
    *_, flow = nat.driver.flows.values()
    assert sum(isinstance(leg, Outbox) for leg in flow.legs) == 2
    assert flow.has_timers


def test_a_link_that_goes_down_before_the_request_asks_no_behaviour_with_conditions() -> None:
    nat = MemoryDriver("transparent", "link-down-reset.when.first=1")
    client = nat.call(proxy())
    nat.driver.link_down()
    nat.settle()
    assert (client.hears(), client.end) == (b"", "")
    client.says(b"CONNECT api.test:443 HTTP/1.1\r\nHost: api.test\r\n\r\n")
    nat.settle()
    nat.answer()
    client.hears()
    nat.driver.link_down()
    nat.settle()
    assert (client.hears(), client.end) == (b"", "rst")


@pytest.mark.parametrize(("process", "expected"), [((7, "curl"), True), ((7, "wget"), False), (None, False)])
def test_a_process_is_known_at_once_or_does_not_fit(
    monkeypatch: pytest.MonkeyPatch, process: Process | None, expected: bool
) -> None:
    monkeypatch.setattr(MemoryLeg, "glimpse_process", lambda leg: process)
    assert is_late(late("process=curl")) is expected
    unrecorded = late("process=curl")
    unrecorded.driver.log = EventLog()
    assert is_late(unrecorded) is expected, "a condition is no less one where the log has no reader"


class Lookups:
    """Keeps what finds out a flow's process, until a test has it end."""

    def __init__(self, nat: MemoryDriver) -> None:
        self.begun: list[Any] = []
        nat.driver._lookups = 0
        nat.loop.spawn = self._begin  # type: ignore[method-assign]

    def _begin(self, function: object, *args: Any) -> None:
        self.begun.append(args[0])


def test_a_connection_waits_until_its_process_is_known() -> None:
    nat = late("process=curl")
    lookups = Lookups(nat)
    app = nat.call(forward())
    app.says(b"early")
    nat.settle()
    assert (nat.connector.dials, nat.told()) == ([], [])
    lookups.begun[0].name_process((7, "curl"))
    nat.settle()
    server = nat.answer()
    assert server.hears() == b""
    nat.advance(1.1)
    assert server.hears() == b"early"
    assert nat.told()[0] == "flow-opened"


def test_a_connection_that_ends_while_its_process_is_found_out_is_over() -> None:
    nat = late("process=curl")
    lookups = Lookups(nat)
    nat.call(forward())
    nat.driver.end_all("relay-stopped")
    lookups.begun[0].name_process((7, "curl"))
    nat.settle()
    assert (nat.driver.flows, nat.connector.dials, nat.told("fault", "flow-opened")) == ({}, [], [])


def test_without_a_condition_about_it_no_connection_waits_for_its_process() -> None:
    nat = late("port=80")
    Lookups(nat)
    assert is_late(nat)
