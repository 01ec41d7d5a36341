"""Plain http:// through a driver without a socket: one origin, then another, on the client's one connection."""

from __future__ import annotations

import pytest

from support.memory_driver import End, MemoryDriver, proxy

_OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"
_MANY = 5000


def request(host: str, *fields: str) -> bytes:
    return "\r\n".join([f"GET http://{host}/ HTTP/1.1", f"Host: {host}", *fields, "", ""]).encode()


def ask(nat: MemoryDriver, *requests: bytes) -> End:
    client = nat.call(proxy())
    client.says(b"".join(requests))
    nat.settle()
    return client


def test_a_request_reaches_its_origin_in_origin_form_and_the_answer_comes_back() -> None:
    nat = MemoryDriver()
    client = ask(nat, request("one.test"))
    assert [dial.destination.host for dial in nat.connector.dials] == ["one.test"]
    origin = nat.answer()
    assert origin.hears().startswith(b"GET / HTTP/1.1\r\n")
    origin.says(_OK + b"hi")
    nat.settle()
    assert client.hears().endswith(b"\r\n\r\nhi")


def test_the_next_request_for_another_origin_is_another_flow_on_the_same_connection() -> None:
    nat = MemoryDriver()
    client = ask(nat, request("one.test"))
    first = nat.answer()
    first.hears()
    first.says(_OK + b"1.")
    nat.settle()
    assert client.hears().endswith(b"1.")
    client.says(request("two.test"))
    nat.settle()
    assert (first.hears(), first.end) == (b"", "fin"), "the first origin is let go in order"
    assert nat.fields("flow-ended")["because"] == "next-request"
    second = nat.answer()
    assert b"Host: two.test" in second.hears()
    second.says(_OK + b"2.")
    nat.settle()
    assert client.hears().endswith(b"2.")
    assert client.end == ""
    assert [record.flow for record in nat.records if record.event == "flow-opened"] == [1, 2]


def test_bytes_count_for_the_origin_that_got_them() -> None:
    nat = MemoryDriver()
    client = ask(nat, request("one.test"))
    got = []
    for following in (request("two.test", "X-Filler: " + "x" * 1000), b""):
        origin = nat.answer()
        got.append(len(origin.hears()))
        origin.says(_OK + b"hi")
        nat.settle()
        client.says(following)
        nat.settle()
    client.finishes()
    nat.settle()
    origin.finishes()
    nat.settle()
    ended = [record.fields for record in nat.records if record.event == "flow-ended"]
    assert [fields["bytes_out"] for fields in ended] == got
    assert [fields["bytes_in"] for fields in ended] == [len(_OK + b"hi")] * 2


def test_pipelined_requests_for_two_origins_are_answered_in_order() -> None:
    nat = MemoryDriver()
    client = ask(nat, request("one.test"), request("two.test"))
    first = nat.answer()
    first.says(_OK + b"1.")
    nat.settle()
    second = nat.answer()
    second.says(_OK + b"2.")
    nat.settle()
    heard = client.hears()
    assert heard.index(b"1.") < heard.index(b"2.")


def test_a_body_in_tiny_chunks_passes_whole_in_either_direction_though_each_call_parses_only_some() -> None:
    nat = MemoryDriver()
    head = request("one.test", "Transfer-Encoding: chunked").replace(b"GET", b"POST")
    client = ask(nat, head + b"1\r\nx\r\n" * _MANY + b"0\r\n\r\n")
    origin = nat.answer()
    nat.settle()
    assert origin.hears().count(b"x") == _MANY
    origin.says(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\ny\r\n" * _MANY + b"0\r\n\r\n")
    nat.settle()
    assert client.hears().count(b"y") == _MANY


def test_a_second_origin_that_refuses_is_a_502_and_the_end() -> None:
    nat = MemoryDriver()
    client = ask(nat, request("one.test"), request("two.test"))
    nat.answer().says(_OK + b"1.")
    nat.settle()
    nat.refuse()
    assert b"HTTP/1.1 502 " in client.hears()
    assert client.end == "fin"


def test_a_client_that_is_gone_costs_its_origin_a_reset_whatever_that_still_says() -> None:
    nat = MemoryDriver()
    client = ask(nat, request("one.test"))
    origin = nat.answer()
    origin.hears()
    client.resets()
    nat.settle()
    origin.says(_OK + b"hi")
    nat.advance(1.0)
    assert (origin.hears(), origin.end) == (b"", "rst")
    assert not nat.driver.flows
    assert nat.told("fault") == []


def test_a_head_that_trickles_has_the_handshakes_limit_and_an_idle_connection_has_none() -> None:
    nat = MemoryDriver(handshake_timeout_s=10.0)
    client = ask(nat, request("one.test"))
    origin = nat.answer()
    origin.says(_OK + b"hi")
    nat.advance(100.0)
    client.hears()
    assert client.end == ""
    client.says(b"GET http://one.test/ HT")
    nat.advance(9.0)
    client.says(b"TP/1.1\r\n")
    nat.advance(0.9)
    assert (client.hears(), client.end) == (b"", "")
    nat.advance(0.2)
    assert (client.hears(), client.end) == (b"", "fin")


@pytest.mark.parametrize("seed", [1, 2])
def test_what_is_left_to_chance_follows_from_the_seed_and_the_flows_number(seed: int) -> None:
    from relay.driver.chance import Chance  # noqa: PLC0415

    class Dice:
        name = "dice"

    def draws(number: int) -> list[float]:
        nat = MemoryDriver(seed=seed)
        ask(nat, request("one.test"))
        (flow,) = nat.driver.flows.values()
        dice = Dice()
        Chance(flow.log, seed, number).give_to(dice)  # type: ignore[arg-type]
        values = [dice.chance() for _ in range(3)]  # type: ignore[attr-defined]
        assert [record.fields["value"] for record in nat.records if record.event == "chance-drawn"] == values
        return values

    assert draws(1) == draws(1)
    assert draws(1) != draws(2)
