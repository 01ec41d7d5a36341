"""A SOCKS5 client that wants to send datagrams: its replies, its records and its ends, without a socket for them."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import Any

import pytest

from relay.address import Endpoint
from relay.causes import Cause
from relay.events import Side
from relay.testing import memory_pair
from support.clients import socks5_request
from support.memory_driver import SERVER, End, MemoryDriver, proxy

_HELLO = b"\x05\x01\x00"
_ASSOCIATE = socks5_request("0.0.0.0", 4000, 3)
_AT = Endpoint("127.0.0.1", 7000)
_GRANTED = b"\x05\x00\x00\x01\x7f\x00\x00\x01\x1b\x58"


class Open:
    """The one association that a driver has opened; a test has its datagrams come."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.closed, self.error, self.ports = 0, 0, list[int]()
        opened = self

        class Association:
            address = _AT

            def __init__(self, engine: object, leg: object, began: Any, drop: Any, *, port: int) -> None:
                if opened.error:
                    raise OSError(opened.error, os.strerror(opened.error))
                opened.ports.append(port)
                opened.began, opened.drop = began, drop

            def close(self) -> None:
                opened.closed += 1

        monkeypatch.setattr("relay.driver.associating.Association", Association)
        self.began: Callable[[Any, Endpoint], None]
        self.drop: Callable[[str], None]


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Open:
    return Open(monkeypatch)


def ask(nat: MemoryDriver) -> End:
    client = nat.call(proxy())
    client.says(_HELLO + _ASSOCIATE)
    nat.settle()
    return client


def nothing_is_left(nat: MemoryDriver) -> bool:
    left = (nat.driver.flows, nat.connector.own_datagram_addresses, nat.driver.doors._open, nat.told("fault"))
    return left == ({}, set(), {}, [])


def dropped(nat: MemoryDriver) -> list[tuple[str, int]]:
    told = [record.fields for record in nat.records if record.event == "datagrams-dropped"]
    return [(fields["reason"], fields["datagrams"]) for fields in told]


def test_the_reply_says_where_to_send_datagrams_for_as_long_as_the_connection_lasts(opened: Open) -> None:
    nat = MemoryDriver()
    client = ask(nat)
    assert client.hears() == b"\x05\x00" + _GRANTED
    (flow,) = nat.driver.flows.values()
    assert nat.fields("association-opened") == {"client": flow.client, "address": str(_AT)}
    assert (opened.ports, nat.connector.own_datagram_addresses) == ([4000], {_AT})
    assert len(nat.driver.doors._open) == 1
    client.says(b"what comes by it is dropped")
    nat.settle()
    assert (client.hears(), client.end, opened.closed) == (b"", "", 0)
    client.finishes()
    nat.settle()
    assert (client.hears(), client.end, opened.closed) == (b"", "fin", 1)
    ending = nat.fields("flow-ended")
    assert (ending["because"], ending["internal"], ending["internal_because"]) == (Cause.INTERNAL_PEER, "fin", "peer")
    assert nothing_is_left(nat)


def test_a_client_that_resets_ends_its_association(opened: Open) -> None:
    nat = MemoryDriver()
    ask(nat).resets()
    nat.settle()
    assert (opened.closed, nat.fields("flow-ended")["internal"]) == (1, "rst")
    assert nothing_is_left(nat)


@pytest.mark.parametrize("behind", [b"", b"and more"])
def test_what_has_come_before_the_association_is_open_is_read_at_once(opened: Open, behind: bytes) -> None:
    nat = MemoryDriver()
    peer, leg = memory_pair(nat.loop, Side.INTERNAL)
    peer.write(_HELLO + _ASSOCIATE + behind)
    peer.finish()
    nat.driver.accept(leg, proxy())
    nat.settle()
    assert opened.closed == 1
    assert nothing_is_left(nat)


def test_a_frozen_client_is_not_read(opened: Open) -> None:
    nat = MemoryDriver()
    client = ask(nat)
    nat.driver.freeze(Side.INTERNAL)
    client.finishes()
    nat.settle()
    assert opened.closed == 0
    nat.driver.thaw(Side.INTERNAL)
    nat.settle()
    assert opened.closed == 1


@pytest.mark.parametrize("failed", ["full", "socket"])
def test_each_failure_is_a_reply_a_record_and_the_end(
    opened: Open, monkeypatch: pytest.MonkeyPatch, failed: str
) -> None:
    reason = f"there is no socket for datagrams: {os.strerror(errno.EMFILE)}"
    if failed == "full":
        monkeypatch.setattr("relay.driver.doors.MAX_OF_ONE_CLIENT", 0)
        reason = "0 binds and associations open, as many as it may"
    else:
        opened.error = errno.EMFILE
    nat = MemoryDriver()
    client = ask(nat)
    heard = client.hears()
    assert (heard[:4], len(heard), client.end) == (b"\x05\x00\x05\x01", 12, "fin")
    told = nat.fields("association-refused")
    assert (bool(told["client"]), told["reason"].endswith(reason)) == (True, True)
    assert nat.told("association-refused", "association-opened", "flow-ended") == ["association-refused", "flow-ended"]
    assert nat.fields("flow-ended")["because"] == Cause.DESTINATION
    assert (opened.ports, opened.closed) == ([], 0)
    assert nothing_is_left(nat)


def test_each_reason_of_a_drop_is_on_record_at_its_first_and_with_all_at_the_end(opened: Open) -> None:
    nat = MemoryDriver()
    client = ask(nat)
    for reason in ("a", "b", "a", "a"):
        opened.drop(reason)
    assert dropped(nat) == [("a", 1), ("b", 1)]
    client.finishes()
    nat.settle()
    assert dropped(nat) == [("a", 1), ("b", 1), ("a", 3)]


def test_a_mapping_beyond_the_flows_that_there_may_be_is_a_drop(opened: Open) -> None:
    nat = MemoryDriver(max_flows=1)
    ask(nat)
    _, leg = memory_pair(nat.loop, Side.INTERNAL)
    opened.began(leg, SERVER)
    assert (dropped(nat), leg.closed, len(nat.driver.flows)) == ([("beyond --max-flows", 1)], True, 1)


def test_a_mapping_is_a_flow_that_ends_with_its_association(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relay.driver.datagrams.Opening", lambda *_: type("Dial", (), {"abandon": lambda self: None})())
    nat = MemoryDriver()
    client = ask(nat)
    _, leg = memory_pair(nat.loop, Side.INTERNAL)
    opened.began(leg, SERVER)
    nat.settle()
    assert [flow.destination for flow in nat.driver.flows.values()] == [None, SERVER]
    assert nat.fields("flow-opened")["via"] == "socks5-udp"
    client.finishes()
    nat.settle()
    assert [record.fields["because"] for record in nat.records if record.event == "flow-ended"] == [
        Cause.ASSOCIATION_ENDED,
        Cause.INTERNAL_PEER,
    ]
    assert leg.closed
    assert nothing_is_left(nat)
