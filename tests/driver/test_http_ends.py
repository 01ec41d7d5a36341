"""How an exchange of plain HTTP ends: answers that last until the origin's FIN, and clients that have sent theirs."""

from __future__ import annotations

import pytest

from relay.events import Side
from support.memory_driver import End, MemoryDriver, proxy

_ASK = b"GET http://one.test/ HTTP/1.1\r\nHost: one.test\r\n\r\n"
_OTHER = b"GET http://two.test/ HTTP/1.1\r\nHost: two.test\r\n\r\n"
_OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
_UNTIL_FIN = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"


def ask(nat: MemoryDriver, *requests: bytes) -> tuple[End, End]:
    """A client, and its origin that has its request."""
    client = nat.call(proxy())
    client.says(b"".join(requests))
    nat.settle()
    origin = nat.answer()
    assert origin.hears().startswith(b"GET / HTTP/1.1\r\n")
    return client, origin


def body_of(heard: bytes) -> bytes:
    return heard.partition(b"\r\n\r\n")[2]


@pytest.mark.parametrize("client_first", [False, True])
def test_an_answer_that_lasts_until_the_origins_fin_ends_with_it(client_first: bool) -> None:
    nat = MemoryDriver()
    client, origin = ask(nat, _ASK)
    if client_first:
        client.finishes()
        nat.settle()
    origin.says(_UNTIL_FIN + b"all of it")
    nat.settle()
    heard = client.hears()
    assert (b"all of it" in body_of(heard), client.end) == (True, "")
    origin.finishes()
    nat.settle()
    rest = client.hears()
    assert rest in {b"", b"0\r\n\r\n"}
    assert bool(rest) is (b"chunked" in heard.lower())
    client.finishes()
    nat.settle()
    assert nat.driver.flows == {}
    assert nat.told("fault") == []


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nfour"])
def test_an_origin_that_leaves_amid_its_answer_is_a_fault_of_the_protocol(said: bytes) -> None:
    nat = MemoryDriver()
    client, origin = ask(nat, _ASK)
    origin.says(said)
    origin.finishes()
    nat.settle()
    heard = client.hears()
    assert heard.startswith(b"HTTP/1.1 200" if said else b"HTTP/1.1 502")
    assert nat.fields("flow-ended")["because"] == "protocol-error"
    assert nat.driver.flows == {}


def test_the_clients_fin_goes_to_the_origin_behind_its_request_and_the_answer_comes() -> None:
    nat = MemoryDriver()
    client, origin = ask(nat, _ASK)
    client.finishes()
    nat.settle()
    assert (origin.hears(), origin.end) == (b"", "fin")
    origin.says(_OK)
    nat.settle()
    assert (body_of(client.hears()), client.end) == (b"ok", "fin"), "nothing more can be asked"
    origin.finishes()
    nat.settle()
    assert (nat.driver.flows, nat.told("fault")) == ({}, [])


def test_an_origin_that_has_sent_its_fin_serves_no_further_request() -> None:
    nat = MemoryDriver()
    client, origin = ask(nat, _ASK)
    origin.says(_OK)
    origin.finishes()
    nat.settle()
    assert (body_of(client.hears()), client.end) == (b"ok", "")
    client.says(_ASK)
    nat.settle()
    second = nat.answer()
    assert second.hears().startswith(b"GET / ")
    second.says(_OK)
    nat.settle()
    assert body_of(client.hears()) == b"ok"
    ended = [record.fields for record in nat.records if record.event == "flow-ended"]
    assert [(each["because"], each["external"], each["external_because"]) for each in ended] == [
        ("external-peer", "fin", "peer")
    ]


def test_an_origin_that_has_sent_none_is_ended_by_the_next_request_elsewhere() -> None:
    nat = MemoryDriver()
    client, origin = ask(nat, _ASK, _OTHER)
    assert len(nat.connector.dials) == 0
    origin.says(_OK)
    nat.settle()
    ended = nat.fields("flow-ended")
    assert (ended["because"], ended["external_because"]) == ("next-request", "next-request")
    assert [dial.destination.host for dial in nat.connector.dials] == ["two.test"]
    assert body_of(client.hears()) == b"ok"


@pytest.mark.parametrize("order", ["client", "origin"])
def test_a_reset_behind_a_fin_ends_the_exchange(order: str) -> None:
    nat = MemoryDriver()
    client, origin = ask(nat, _ASK)
    first = client if order == "client" else origin
    if order == "origin":
        origin.says(_OK)
    first.finishes()
    nat.settle()
    first.resets()
    nat.settle()
    side = Side.INTERNAL if order == "client" else Side.EXTERNAL
    assert nat.fields("rst-received")["side"] == side.value
