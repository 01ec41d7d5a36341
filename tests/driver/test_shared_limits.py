"""`pending-limit` and `flow-limit`: what one connection too many gets, and when there is room again."""

from __future__ import annotations

import pytest

from relay.address import Endpoint
from support.memory_driver import SERVER, MemoryDriver, forward, proxy

CONNECT = b"CONNECT 192.0.2.80:80 HTTP/1.1\r\nHost: 192.0.2.80:80\r\n\r\n"


def nat_with(behaviour: str, *settings: str) -> MemoryDriver:
    return MemoryDriver("transparent", *(f"{behaviour}.{setting}" for setting in settings))


@pytest.mark.parametrize("behaviour", ["pending-limit.max_pending=1", "flow-limit.max_flows=1"])
def test_one_too_many_hears_nothing_until_it_has_waited_for_long(behaviour: str) -> None:
    nat = MemoryDriver("transparent", behaviour)
    nat.call(forward())
    app = nat.call(forward())
    app.says(b"hello?")
    nat.advance(129)
    assert (app.hears(), app.end) == (b"", "")
    nat.advance(1)
    assert (app.hears(), app.end) == (b"", "rst")
    assert len(nat.connector.dials) == 1
    ended = nat.fields("flow-ended")
    assert (ended["because"], ended["internal"]) == (behaviour.split(".", maxsplit=1)[0], "silence")


@pytest.mark.parametrize("behaviour", ["pending-limit.max_pending=1", "flow-limit.max_flows=1"])
def test_one_too_many_may_be_refused_as_a_port_without_a_listener_refuses(behaviour: str) -> None:
    nat = MemoryDriver("transparent", behaviour, f"{behaviour.split('.', maxsplit=1)[0]}.surplus=refuse")
    nat.call(forward())
    app, asked = nat.call(forward()), nat.call(proxy())
    assert (app.hears(), app.end) == (b"", "rst")
    asked.says(CONNECT)
    nat.settle()
    answer = asked.hears()
    assert answer.startswith(b"HTTP/1.1 502 Bad Gateway\r\n")
    assert b"connection refused: 192.0.2.80:80 (1 " in answer


def test_a_dial_that_is_through_makes_room() -> None:
    nat = nat_with("pending-limit", "max_pending=1", "surplus=wait")
    apps = [nat.call(forward()) for _ in range(3)]
    for number, app in enumerate(apps):
        assert len(nat.connector.dials) == 1
        app.says(b"%d" % number)
        if number == 1:
            nat.refuse()
        else:
            assert nat.answer().hears() == b"%d" % number


@pytest.mark.parametrize(("leaks", "dials"), [("false", 10), ("true", 0)])
def test_ten_handshakes_that_were_abandoned_may_stop_all_others_for_good(leaks: str, dials: int) -> None:
    nat = nat_with("pending-limit", f"leaks={leaks}")
    for _ in range(10):
        nat.call(forward()).resets()
        nat.settle()
    assert all(dial.abandoned for dial in nat.connector.dials)
    nat.connector.dials.clear()
    nat.advance(86_400)
    for _ in range(20):
        nat.call(forward())
    assert len(nat.connector.dials) == dials


def test_a_flow_limit_is_for_each_destination_or_for_all_of_them() -> None:
    for per, dials in (("destination", 4), ("relay", 2)):
        nat = nat_with("flow-limit", "max_flows=2", f"per={per}")
        for port in (80, 80, 80, 81, 81, 81):
            nat.call(forward(destination=Endpoint("192.0.2.80", port)))
        assert len(nat.connector.dials) == dials


@pytest.mark.parametrize(("end", "held_s"), [("fin", 65), ("rst", 16)])
def test_a_port_rests_for_a_while_before_it_counts_as_free(end: str, held_s: int) -> None:
    nat = nat_with("flow-limit", "max_flows=1", "hold_after_fin_s=65", "hold_after_rst_s=16")
    app = nat.call(forward())
    server = nat.answer()
    if end == "rst":
        app.resets()
    else:
        app.finishes()
        nat.settle()
        server.finishes()
    nat.advance(held_s - 1)
    nat.call(forward())
    assert nat.connector.dials == []
    nat.advance(1)
    nat.call(forward())
    assert [dial.destination for dial in nat.connector.dials] == [SERVER]


def test_a_connection_that_was_forgotten_makes_room_at_once() -> None:
    settings = ("flow-limit.max_flows=1", "flow-limit.hold_after_fin_s=65", "idle-timeout.after_s=10")
    nat = MemoryDriver("transparent", *settings)
    nat.call(forward())
    nat.answer()
    nat.advance(10)
    nat.call(forward())
    assert len(nat.connector.dials) == 1
    assert nat.told("slot-denied") == []


class TestDialOnData:
    """`precomplete-handshake.dial_on = "data"`."""

    SETTINGS = ("precomplete-handshake.order=internal-first", "precomplete-handshake.dial_on=data")

    def test_nothing_is_dialled_before_the_first_byte(self) -> None:
        nat = MemoryDriver("transparent", *self.SETTINGS)
        app = nat.call(forward())
        nat.advance(86_400)
        assert nat.connector.dials == []
        app.says(b"hel")
        nat.settle()
        app.says(b"lo")
        nat.settle()
        assert len(nat.connector.dials) == 1
        assert nat.answer().hears() == b"hello"

    def test_a_fin_is_sent_as_well(self) -> None:
        nat = MemoryDriver("transparent", *self.SETTINGS)
        app = nat.call(forward())
        app.finishes()
        nat.settle()
        server = nat.answer()
        assert (server.hears(), server.end) == (b"", "fin")

    def test_what_came_with_the_request_is_data(self) -> None:
        for asked, dials in ((CONNECT, 0), (CONNECT + b"hello", 1)):
            nat = MemoryDriver("transparent", *self.SETTINGS)
            app = nat.call(proxy())
            app.says(asked)
            nat.settle()
            assert app.hears().startswith(b"HTTP/1.1 200")
            assert len(nat.connector.dials) == dials

    def test_a_plain_http_request_is_data(self) -> None:
        nat = MemoryDriver("transparent", *self.SETTINGS)
        nat.call(proxy()).says(b"GET http://192.0.2.80/ HTTP/1.1\r\nHost: 192.0.2.80\r\n\r\n")
        nat.settle()
        assert nat.answer().hears().startswith(b"GET / HTTP/1.1\r\n")

    def test_one_that_goes_away_before_is_over(self) -> None:
        nat = MemoryDriver("transparent", *self.SETTINGS)
        nat.call(forward()).resets()
        nat.settle()
        assert nat.connector.dials == []
        assert nat.told("flow-ended") == ["flow-ended"]

    def test_one_that_waits_for_its_turn_has_not_sent_anything_yet(self) -> None:
        nat = MemoryDriver("transparent", *self.SETTINGS, "pending-limit.max_pending=1", "pending-limit.surplus=wait")
        first, second = nat.call(forward()), nat.call(forward())
        for app, said in ((second, b"second"), (first, b"first")):
            app.says(said)
            nat.settle()
        assert nat.answer().hears() == b"first"
        assert nat.answer().hears() == b"second"
