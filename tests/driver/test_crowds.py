"""More than there is room for: connections beyond `--max-flows`, clients that linger, and requests far ahead."""

from __future__ import annotations

import re

import pytest

from support.clients import socks5_request
from support.memory_driver import End, MemoryDriver, forward, proxy

_HELLO = b"\x05\x01\x00"
_GARBAGE = b"GARBAGE / nonsense\r\n\r\n"
_ROOM = 64  # beyond --max-flows, of connections that are being turned away


def full(max_flows: int = 1) -> MemoryDriver:
    nat = MemoryDriver(max_flows=max_flows)
    for _ in range(max_flows):
        nat.call(forward())
    return nat


def end_of(client: End) -> str:
    client.hears()
    return client.end


def test_64_surplus_clients_are_read_and_the_next_is_reset_at_once() -> None:
    nat = full()
    clients = [nat.call(proxy()) for _ in range(_ROOM)]
    assert {end_of(each) for each in clients} == {""}
    assert end_of(nat.call(proxy())) == "rst"
    clients[0].resets()
    nat.advance(0.1)
    assert end_of(nat.call(proxy())) == ""
    assert end_of(nat.call(proxy())) == "rst"


def test_a_surplus_client_that_asks_for_nothing_has_the_handshakes_limit() -> None:
    nat = full()
    client = nat.call(proxy())
    client.says(_HELLO)
    nat.advance(9.9)
    assert (client.hears(), client.end) == (b"\x05\x00", "")
    nat.advance(0.2)
    assert end_of(client) == "fin"


def test_a_surplus_client_that_talks_on_has_time_to_read_its_answer() -> None:
    nat = full()
    client = nat.call(proxy())
    client.says(_HELLO + socks5_request("a.test", 80))
    nat.settle()
    client.says(b"more")
    nat.settle()
    assert not client.leg.other.closed
    assert (client.hears()[:4], client.end) == (b"\x05\x00\x05\x01", "fin")
    client.finishes()
    nat.settle()
    assert client.leg.other.closed


@pytest.mark.parametrize("said", [_GARBAGE, b""])
def test_a_surplus_client_that_will_never_ask_is_let_go(said: bytes) -> None:
    nat = full()
    client = nat.call(proxy())
    client.says(said)
    client.finishes()
    nat.settle()
    assert end_of(client) == "fin"


def test_64_clients_that_are_turned_away_have_time_to_read_why_and_the_next_is_reset() -> None:
    nat = MemoryDriver(max_flows=1)

    def turn_one_away() -> End:
        client = nat.call(proxy())
        client.says(_GARBAGE)
        nat.settle()
        return client

    clients = [turn_one_away() for _ in range(_ROOM)]
    assert {end_of(each) for each in clients} == {"fin"}
    assert end_of(turn_one_away()) == "rst"
    clients[0].finishes()
    nat.settle()
    assert end_of(turn_one_away()) == "fin"


def test_a_client_far_ahead_of_its_answers_is_read_on_as_they_come() -> None:
    nat = MemoryDriver()
    client = nat.call(proxy())
    request = b"GET http://one.test/ HTTP/1.1\r\nHost: one.test\r\nX: %s\r\n\r\n" % (b"x" * 400)
    asked = 500  # some 220 KB: more than the 64 KiB that wait for their turn
    client.says(request * asked)
    nat.settle()
    origin = nat.answer()
    seen = answered = 0
    for _ in range(2 * asked):
        seen += len(re.findall(rb"GET / HTTP/1.1", origin.hears()))
        if seen > answered:
            answered += 1
            origin.says(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        nat.settle()
        client.hears()
        if answered == asked:
            break
    assert (seen, answered) == (asked, asked)
    assert nat.told("fault") == []


def test_a_surplus_client_of_http_is_answered_that_the_relay_is_full_and_is_named() -> None:
    nat = full()
    client = nat.call(proxy())
    client.says(b"CONNECT a.test:443 HTTP/1.1\r\nHost: a.test\r\n\r\n")
    nat.settle()
    heard = client.hears()
    reason = "1 flows are open, as many as --max-flows allows"
    assert heard.startswith(b"HTTP/1.1 503 ")
    assert reason.encode() in heard
    assert nat.fields("flow-refused") == {"client": str(client.leg.local), "reason": reason}
