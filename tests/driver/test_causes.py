"""Whatever ends a flow: `flow-ended` says why, how each side ended and because of what, and how much was carried."""

from __future__ import annotations

from typing import Any

import pytest

from relay.causes import Cause, How
from relay.events import Side
from support.memory_driver import End, MemoryDriver, forward, proxy

_REQUEST = b"GET http://one.test/ HTTP/1.1\r\nHost: one.test\r\n\r\n"
_NEXT = b"GET http://two.test/and-a-long-way-to-go HTTP/1.1\r\nHost: two.test\r\n\r\n"
IDLE_RESET = tuple(
    f"idle-timeout.{setting}" for setting in ("after_s=80", "counts=data", "internal=rst", "external=rst")
)
_OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"


def carry_a_request(nat: MemoryDriver) -> tuple[End, End, int]:
    """A client, its first origin, and how many bytes that origin got."""
    client = nat.call(proxy())
    client.says(_REQUEST)
    nat.settle()
    origin = nat.answer()
    sent_bytes = len(origin.hears())
    origin.says(_OK)
    nat.settle()
    client.hears()
    return client, origin, sent_bytes


def sides_of(ending: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(ending[field] for field in ("internal", "internal_because", "external", "external_because"))


def test_the_next_request_hands_the_client_over_and_ends_its_origin_in_order() -> None:
    nat = MemoryDriver()
    client, origin, sent_bytes = carry_a_request(nat)
    client.says(_NEXT)
    nat.settle()
    assert (origin.hears(), origin.end) == (b"", "fin")
    ending = nat.fields("flow-ended")
    assert ending["because"] == Cause.NEXT_REQUEST
    assert sides_of(ending) == (How.HANDED_OVER, Cause.NEXT_REQUEST, How.FIN, Cause.NEXT_REQUEST)
    assert (ending["bytes_out"], ending["bytes_in"]) == (sent_bytes, len(_OK))
    assert nat.fields("fin-sent") == {"side": "external", "because": Cause.NEXT_REQUEST}


def test_an_origin_that_has_closed_has_ended_itself_whatever_the_client_asks_next() -> None:
    nat = MemoryDriver()
    client, origin, _ = carry_a_request(nat)
    origin.finishes()
    nat.settle()
    client.says(_NEXT)
    nat.settle()
    ending = nat.fields("flow-ended")
    assert sides_of(ending)[2:] == (How.FIN, Cause.PEER)


def test_a_request_that_is_malformed_ends_both_sides_in_order() -> None:
    nat = MemoryDriver()
    client, origin, sent_bytes = carry_a_request(nat)
    client.says(b"GET http://one.test/ HTTP/1.1\r\nno field\r\n\r\n")
    nat.settle()
    assert b"HTTP/1.1 400 " in client.hears()
    assert (client.end, origin.hears(), origin.end) == ("fin", b"", "fin")
    ending = nat.fields("flow-ended")
    assert ending["because"] == Cause.PROTOCOL_ERROR
    assert sides_of(ending) == (How.FIN, Cause.PROTOCOL_ERROR) * 2
    assert ending["bytes_out"] == sent_bytes


@pytest.mark.parametrize(
    ("say", "because", "internal"),
    [
        (
            lambda app: app.says(b"GARBAGE / nonsense\r\n\r\n"),
            Cause.HANDSHAKE_FAILED,
            (How.FIN, Cause.HANDSHAKE_FAILED),
        ),
        (lambda app: app.finishes(), Cause.INTERNAL_PEER, (How.FIN, Cause.PEER)),
        (lambda app: app.resets(), Cause.INTERNAL_PEER, (How.RST, Cause.PEER)),
    ],
    ids=["it says nonsense", "it closes", "it resets"],
)
def test_a_handshake_that_fails_is_the_end_of_a_flow_that_asked_for_nothing(
    say: Any, because: Cause, internal: tuple[How, Cause]
) -> None:
    nat = MemoryDriver()
    app = nat.call(proxy())
    say(app)
    nat.settle()
    assert nat.told("handshake-failed", "flow-ended") == ["handshake-failed", "flow-ended"]
    ending = nat.fields("flow-ended")
    assert (ending["because"], ending["destination"]) == (because, None)
    assert sides_of(ending) == (*internal, None, None)


def test_a_client_for_whose_answer_there_is_no_room_is_reset() -> None:
    nat = MemoryDriver(max_flows=1)
    nat.driver.lets_linger = lambda leg: False  # type: ignore[method-assign]
    app = nat.call(proxy())
    app.says(b"GARBAGE / nonsense\r\n\r\n")
    nat.settle()
    app.hears()
    assert app.end == "rst"
    assert sides_of(nat.fields("flow-ended"))[:2] == (How.RST, Cause.HANDSHAKE_FAILED)


def test_the_limit_of_a_handshake_is_the_cause_and_so_is_that_of_a_later_head() -> None:
    nat = MemoryDriver(handshake_timeout_s=10.0)
    nat.call(proxy())
    nat.advance(10.1)
    ending = nat.fields("flow-ended")
    assert (ending["because"], ending["destination"]) == (Cause.HANDSHAKE_LIMIT, None)
    assert sides_of(ending) == (How.FIN, Cause.HANDSHAKE_LIMIT, None, None)
    nat.records.clear()
    client, origin, _ = carry_a_request(nat)
    client.says(b"GET http://one.test/ HT")
    nat.advance(10.1)
    ending = nat.fields("flow-ended")
    assert ending["because"] == Cause.HANDSHAKE_LIMIT
    assert sides_of(ending) == (How.FIN, Cause.HANDSHAKE_LIMIT) * 2
    assert (client.hears(), client.end, origin.hears(), origin.end) == (b"", "fin", b"", "fin")


def test_what_a_side_that_lingers_ends_by_is_recorded_beside_what_began_the_end() -> None:
    nat = MemoryDriver("transparent", "close-mapping.enabled=false")
    app = nat.call(forward())
    server = nat.answer()
    app.resets()
    nat.advance(61.0)
    assert (server.hears(), server.end) == (b"", "rst")
    ending = nat.fields("flow-ended")
    assert ending["because"] == Cause.INTERNAL_PEER
    assert sides_of(ending) == (How.RST, Cause.PEER, How.RST, Cause.LINGER)


def test_an_idle_flow_ends_on_both_sides_by_the_limit() -> None:
    nat = MemoryDriver("transparent", *IDLE_RESET)
    nat.call(forward(Side.EXTERNAL))
    nat.answer()
    nat.advance(80.0)
    ending = nat.fields("flow-ended")
    assert ending["because"] == "idle-timeout"
    assert sides_of(ending) == (How.RST, "idle-timeout") * 2
