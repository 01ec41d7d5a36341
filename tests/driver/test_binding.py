"""A SOCKS client that waits for a connection: its replies, records and ends, without a listener or a look-up."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import pytest

from relay.address import Endpoint
from relay.causes import Cause
from relay.errors import ConfigError
from relay.events import DialFailure, FailureKind, Side
from relay.log import Record
from relay.testing import MemoryLeg, memory_pair
from support.clients import socks5_request
from support.memory_driver import End, MemoryDriver, proxy

_HELLO = b"\x05\x01\x00"
_PEER = Endpoint("192.0.2.9", 0)
_BIND = socks5_request(_PEER.host, _PEER.port, 2)
_SOCKS4_BIND = b"\x04\x02\x00\x00\xc0\x00\x02\x09\x00"
_AT = Endpoint("127.0.0.1", 7000)
_FIRST_REPLY = b"\x05\x00\x00\x01\x7f\x00\x00\x01\x1b\x58"
_CAME_FROM = Endpoint("192.0.2.9", 5000)


class Wait:
    """The one look-up and the one listener that a driver has begun; a test has them succeed or fail."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clients: list[str] = []
        self.given_up, self.closed, self.error = 0, 0, ""
        self.bind, self.hosts = "", list[str]()
        wait = self

        class Lookup:
            def __init__(self, engine: object, connector: object, peer: Endpoint, found: Any, *, client: str) -> None:
                assert peer == _PEER
                wait.clients.append(client)
                wait.found = found

            def abandon(self) -> None:
                wait.given_up += 1

        class PeerWait:
            address = _AT

            def __init__(self, engine: object, bind: str, hosts: list[str], _: object, came: Any, foreign: Any) -> None:
                if wait.error:
                    raise ConfigError(wait.error)
                wait.bind, wait.hosts, wait.came, wait.foreign = bind, hosts, came, foreign

            def close(self) -> None:
                wait.closed += 1

        monkeypatch.setattr("relay.driver.binding.Lookup", Lookup)
        monkeypatch.setattr("relay.driver.binding.PeerWait", PeerWait)
        monkeypatch.setattr("relay.driver.binding.address_toward", lambda host, local, source: f"{host} of {local}")
        self.found: Callable[[list[tuple[int, Endpoint]] | DialFailure], None]
        self.came: Callable[[MemoryLeg], None]
        self.foreign: Callable[[Endpoint], None]

    def finds(self, *hosts: str) -> None:
        self.found([(socket.AF_INET, Endpoint(host, 0)) for host in hosts])


@pytest.fixture
def wait(monkeypatch: pytest.MonkeyPatch) -> Wait:
    return Wait(monkeypatch)


def ask(nat: MemoryDriver, behind: bytes = b"") -> End:
    client = nat.call(proxy())
    client.says(_HELLO + _BIND + behind)
    nat.settle()
    return client


def waiting(nat: MemoryDriver, wait: Wait) -> End:
    """A client that has its first reply."""
    client = ask(nat)
    wait.finds(_PEER.host)
    nat.settle()
    assert client.hears() == b"\x05\x00" + _FIRST_REPLY
    return client


def nothing_is_left(nat: MemoryDriver, wait: Wait) -> bool:
    return (nat.driver.flows, nat.connector.own_addresses, nat.driver.doors._open, nat.told("fault")) == (
        {},
        set(),
        {},
        [],
    )


def test_a_listener_of_the_log_may_end_a_wait_as_it_begins(wait: Wait) -> None:
    nat = MemoryDriver()

    def listen(record: Record) -> None:
        if record.event == "bind-opened":
            nat.driver.end_all("a listener")

    nat.driver.log.subscribe(listen)
    client = ask(nat)
    wait.finds(_PEER.host)
    nat.advance(60.0)
    assert (client.hears(), client.end) == (b"\x05\x00", "rst")
    assert nat.told()[-1] == "flow-ended"
    assert nothing_is_left(nat, wait)


def test_the_reply_says_where_the_peer_may_connect_and_that_is_no_destination_of_others(wait: Wait) -> None:
    nat = MemoryDriver()
    client = waiting(nat, wait)
    (flow,) = nat.driver.flows.values()
    assert nat.fields("bind-opened") == {"client": flow.client, "address": str(_AT), "peer": _PEER.host}
    assert (wait.hosts, wait.bind) == ([_PEER.host], f"{_PEER.host} of {local_of(flow.initiator_leg)}")
    assert (nat.connector.own_addresses, len(nat.driver.doors._open)) == ({_AT}, 1)
    assert wait.clients == [str((flow.client_end() and flow.client_end().host) or "")]  # type: ignore[union-attr]
    client.finishes()
    nat.settle()
    assert (wait.given_up, wait.closed) == (0, 1)
    assert nothing_is_left(nat, wait)


def local_of(leg: Any) -> str:
    return leg.local.host if leg.local is not None else "127.0.0.1"


@pytest.mark.parametrize(
    ("failed", "kind", "detail"),
    [
        ("full", FailureKind.EXHAUSTED, "0 binds and associations open, as many as it may"),
        ("lookup", FailureKind.NOT_RESOLVED, "no such name"),
        ("anyone", FailureKind.DENIED, "a bind names the host that may connect"),
        ("a name", FailureKind.DENIED, "a bind names the host that may connect"),
        ("listener", FailureKind.EXHAUSTED, "cannot listen there"),
        ("time", FailureKind.TIMED_OUT, "192.0.2.9 did not connect within 30 s"),
    ],
)
def test_each_failure_is_a_reply_a_record_and_the_end(
    wait: Wait, monkeypatch: pytest.MonkeyPatch, failed: str, kind: FailureKind, detail: str
) -> None:
    nat = MemoryDriver()
    if failed == "full":
        monkeypatch.setattr("relay.driver.doors.MAX_OF_ONE_CLIENT", 0)
    wait.error = detail if failed == "listener" else ""
    client = ask(nat)
    (flow,) = nat.driver.flows.values() or [None]
    before = client.hears()
    match failed:
        case "lookup":
            wait.found(DialFailure(kind, detail))
        case "anyone":
            wait.finds(_PEER.host, "0.0.0.0")
        case "a name":
            wait.finds("peer.test")
        case "listener" | "time":
            wait.finds(_PEER.host)
            nat.advance(29.9)
            assert bool(nat.driver.flows) is (failed == "time")
            nat.advance(0.2)
    nat.settle()
    heard = before + client.hears()
    assert heard.startswith(b"\x05\x00")
    reply = heard[2:].removeprefix(_FIRST_REPLY) if failed == "time" else heard[2:]
    assert (reply[0], reply[1] != 0, len(reply), client.end) == (5, True, 10, "fin")
    told = nat.fields("bind-failed")
    assert (told["failure"], told["detail"].endswith(detail)) == (kind.value, True)
    assert told["client"]
    assert nat.fields("flow-ended")["because"] == Cause.DESTINATION if flow is not None else True
    assert len(nat.told("bind-failed")) == 1
    assert len(nat.told("bind-opened")) == (failed == "time")
    assert wait.closed == (failed == "time")
    assert len(wait.clients) == (failed != "full")
    assert nothing_is_left(nat, wait)


@pytest.mark.parametrize("found", [True, False])
@pytest.mark.parametrize("end", ["fin", "rst"])
def test_a_client_that_leaves_ends_its_wait(wait: Wait, end: str, found: bool) -> None:
    nat = MemoryDriver()
    client = waiting(nat, wait) if found else ask(nat)
    (client.finishes if end == "fin" else client.resets)()
    nat.settle()
    assert (wait.closed, wait.given_up) == (found, not found)
    assert nothing_is_left(nat, wait)
    nat.advance(60)
    assert nat.told("bind-failed") == []


def test_a_client_that_has_left_before_its_wait_began_has_none(wait: Wait) -> None:
    nat = MemoryDriver()
    peer, leg = memory_pair(nat.loop, Side.INTERNAL)
    peer.write(_HELLO + _BIND)
    peer.finish()
    nat.driver.accept(leg, proxy())
    nat.settle()
    assert wait.given_up == 1
    assert nothing_is_left(nat, wait)


def test_a_connection_from_another_host_is_on_record_and_the_wait_goes_on(wait: Wait) -> None:
    nat = MemoryDriver()
    client = waiting(nat, wait)
    wait.foreign(Endpoint("192.0.2.77", 1))
    nat.settle()
    assert nat.fields("peer-refused") == {"peer": "192.0.2.77:1", "expected": _PEER.host}
    assert (client.hears(), client.end, wait.closed) == (b"", "", 0)


def test_it_ends_the_wait_of_a_client_of_socks4(wait: Wait) -> None:
    nat = MemoryDriver()
    client = nat.call(proxy())
    client.says(_SOCKS4_BIND)
    nat.settle()
    wait.finds(_PEER.host)
    nat.settle()
    assert client.hears()[:2] == b"\x00\x5a"
    wait.foreign(Endpoint("192.0.2.77", 1))
    nat.settle()
    assert (client.hears()[:2], client.end) == (b"\x00\x5b", "fin")
    assert nat.fields("bind-failed")["detail"] == "192.0.2.77 has connected, not 192.0.2.9"
    assert nothing_is_left(nat, wait)


def test_the_peers_connection_is_a_flow_of_its_own_with_what_the_client_has_sent(wait: Wait) -> None:
    nat = MemoryDriver()
    client = waiting(nat, wait)
    client.says(b"early")
    nat.settle()
    peer, leg = memory_pair(nat.loop, Side.EXTERNAL)
    wait.came(leg)
    nat.settle()
    server = End(peer)
    assert server.hears() == b"early"
    assert client.hears()[:4] == b"\x05\x00\x00\x01"
    for sender, receiver in ((client, server), (server, client)):
        sender.says(b"more")
        nat.settle()
        assert receiver.hears() == b"more"
    assert nat.fields("flow-ended")["because"] == Cause.PEER_CONNECTED
    assert [flow.initiator for flow in nat.driver.flows.values()] == [Side.EXTERNAL]
    assert (wait.closed, nat.connector.own_addresses, nat.driver.doors._open) == (1, set(), {})
    nat.advance(60)
    assert nat.told("bind-failed") == []


def test_a_peers_connection_that_is_ended_at_once_costs_the_client_its_wait(wait: Wait) -> None:
    nat = MemoryDriver()
    client = waiting(nat, wait)
    peer, leg = memory_pair(nat.loop, Side.EXTERNAL)
    wait.came(leg)
    nat.driver.end_all("relay-stopped")
    nat.settle()
    assert (client.hears()[:2], client.end) == (b"\x05\x01", "fin")
    End(peer).hears()
    assert nothing_is_left(nat, wait)


def test_what_a_client_sends_meanwhile_has_a_limit(wait: Wait) -> None:
    nat = MemoryDriver()
    client = ask(nat)
    for size in (1, 1000, 200_000):
        client.says(bytes(size))
        nat.settle()
    (flow,) = nat.driver.flows.values()
    assert len(flow.phase._early) == 64 * 1024  # type: ignore[attr-defined]


def test_a_frozen_client_is_not_read(wait: Wait) -> None:
    nat = MemoryDriver()
    client = ask(nat)
    nat.driver.freeze(Side.INTERNAL)
    client.resets()
    nat.settle()
    assert nat.driver.flows
    nat.driver.thaw(Side.INTERNAL)
    nat.settle()
    assert nothing_is_left(nat, wait)
