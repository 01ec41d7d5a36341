"""SOCKS BIND: a client waits for a connection from one named peer, with real sockets on all sides."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator

import pytest

from relay.testing import RunningRelay, serve_in_thread
from support.clients import Refused, connect_by_port, is_reset_by, socks5_request
from support.origins import read_exactly, read_to_end, reset
from support.socks_bind import BIND, OTHER, PEER, PROTOCOLS, connect_from, waiting
from support.socks_udp import WITHIN_S, read_reply


def demand_reset(host: str, to: tuple[str, int]) -> None:
    """Insist that a connection from this host is reset, which may be before it is known to be made."""
    with pytest.raises(ConnectionResetError):
        connect_and_read(host, to)


def connect_and_read(host: str, to: tuple[str, int]) -> bytes:
    with connect_from(host, to) as peer:
        return peer.recv(1)


@pytest.fixture
def nat(backend: str) -> Iterator[RunningRelay]:
    with serve_in_thread("vmware-fusion", backend=backend, connect_timeout_s=5) as running:
        yield running


# "Two replies are sent from the SOCKS server to the client during a BIND operation. The first is sent after the server
# creates and binds a new socket. The BND.PORT field contains the port number that the SOCKS server assigned to listen
# for an incoming connection. [...] In the second reply, the BND.PORT and BND.ADDR fields contain the address and port
# number of the connecting host." (RFC 1928 section 6; the SOCKS4 memo has the same two.)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_two_replies_then_a_connection_of_the_peers(nat: RunningRelay, protocol: str) -> None:
    with waiting(nat, protocol) as client:
        first = client.reply()
        assert (first.code, first.address[0]) == (0, "127.0.0.1")
        with connect_from(PEER, first.address) as peer:
            assert client.reply() == (0, peer.getsockname())
            peer.sendall(b"220 hello")
            assert read_exactly(client.sock, 9) == b"220 hello"
            nat.wait_for("flow-opened", via=f"{protocol}-bind")  # its process is known by then: that takes a connection
            client.sock.sendall(b"answer")
            client.sock.shutdown(socket.SHUT_WR)
            assert read_to_end(peer) == b"answer"
            peer.shutdown(socket.SHUT_WR)
            assert read_to_end(client.sock) == b""
            connected = peer.getsockname()
    ended = nat.wait_for("flow-ended", bytes_out=6, bytes_in=9)
    waited = nat.wait_for("flow-ended", because="peer-connected", internal="handed-over")
    assert waited.flow == nat.wait_for("bind-opened").flow
    opened = nat.wait_for("flow-opened", flow=ended.flow).fields
    assert opened["via"] == f"{protocol}-bind"
    assert opened["client"] == "{}:{}".format(*connected)
    assert ended.process is not None


def test_a_profiles_rules_are_those_of_an_inbound_connection(backend: str) -> None:
    with (
        serve_in_thread(
            "transparent",
            backend=backend,
            clock="manual",
            idle_timeout={"after_s": 60, "counts": "data", "internal": "rst", "external": "rst"},
        ) as nat,
        waiting(nat) as client,
        connect_from(PEER, client.reply().address) as peer,
    ):
        assert client.reply().code == 0
        nat.wait_for("flow-connected")
        nat.advance(61)
        assert nat.wait_for("flow-ended", because="idle-timeout")
        assert is_reset_by(client.sock, b"x")
        assert is_reset_by(peer, b"x")


def test_a_forwards_own_rules_are_those_of_what_its_clients_wait_for(
    backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    forwards = ["0:any:// cut.after_bytes=3 cut.how=fin cut.direction=both"]
    with serve_in_thread("transparent", backend=backend, forwards=forwards) as nat:
        (forward,) = nat.forward_addresses
        monkeypatch.setattr(type(nat), "address", forward)
        with waiting(nat) as client, connect_from(PEER, client.reply().address) as peer:
            assert client.reply().code == 0
            peer.sendall(b"hello")
            assert read_to_end(client.sock) == b"hel"
        nat.wait_for("flow-ended", because="cut")


def test_what_a_client_sends_before_its_peer_connects_arrives_in_order(nat: RunningRelay) -> None:
    sent = random.Random(1).randbytes(200_000)  # noqa: S311 - more than the relay reads ahead
    with waiting(nat, behind=sent[:100]) as client:
        first = client.reply()
        client.sock.sendall(sent[100:])
        with connect_from(PEER, first.address) as peer:
            assert client.reply().code == 0
            assert read_exactly(peer, len(sent)) == sent
    assert nat.wait_for("flow-ended", bytes_out=len(sent))


def test_the_peer_may_be_named(backend: str) -> None:
    with (
        serve_in_thread(backend=backend, resolve=["ftp.test:21:127.0.0.2"]) as nat,
        waiting(nat, peer="ftp.test") as client,
        connect_from(OTHER, client.reply().address) as peer,
    ):
        assert client.reply() == (0, peer.getsockname())


# Who may connect


def test_a_connection_from_another_host_is_reset_and_the_wait_goes_on(nat: RunningRelay) -> None:
    with waiting(nat) as client:
        first = client.reply()
        demand_reset(OTHER, first.address)
        assert nat.wait_for("peer-refused").fields["expected"] == PEER
        with connect_from(PEER, first.address) as peer:
            assert client.reply() == (0, peer.getsockname())


# "The SOCKS server checks the IP address of the originating host against the value of DSTIP specified in the client's
# BIND request. If a mismatch is found, the CD field in the second reply is set to 91 and the SOCKS server closes both
# connections." (SOCKS: A protocol for TCP proxy across firewalls, Ying-Da Lee)
def test_over_socks4_a_connection_from_another_host_ends_the_wait(nat: RunningRelay) -> None:
    with waiting(nat, "socks4") as client:
        first = client.reply()
        demand_reset(OTHER, first.address)
        assert client.reply().code == 91
        assert read_to_end(client.sock) == b""
        assert nat.wait_for("bind-failed").fields["failure"] == "denied"


def test_one_connection_is_let_in_and_no_more(nat: RunningRelay) -> None:
    with waiting(nat) as client:
        first = client.reply()
        with connect_from(PEER, first.address):
            assert client.reply().code == 0
            with pytest.raises(ConnectionRefusedError):
                connect_from(PEER, first.address)


@pytest.mark.parametrize("peer", ["0.0.0.0", "::"])
def test_a_bind_names_its_peer(nat: RunningRelay, peer: str) -> None:
    with waiting(nat, peer=peer) as client:
        assert client.reply().code == 2  # X'02': connection not allowed by ruleset
        assert read_to_end(client.sock) == b""


def test_the_relay_does_not_dial_a_bind_of_its_own(nat: RunningRelay) -> None:
    with waiting(nat) as client:
        first = client.reply()
        with pytest.raises(Refused) as refused:
            connect_by_port(nat.address.port, *first.address)
        assert refused.value.code == 2
    nat.wait_for("flow-ended", because="internal-peer")
    with pytest.raises(Refused) as refused:
        connect_by_port(nat.address.port, *first.address)
    assert refused.value.code == 5  # no longer its own: nothing listens there


def test_a_client_that_came_by_loopback_has_its_peer_come_by_loopback(backend: str) -> None:
    with serve_in_thread(backend=backend, listen="0.0.0.0:0", allow_open=True) as nat:
        for peer, family in (("192.0.2.1", "127.0.0.1"), ("2001:db8::1", "::1")):
            with socket.create_connection(("127.0.0.1", nat.address.port), timeout=WITHIN_S) as client:
                client.sendall(b"\x05\x01\x00" + socks5_request(peer, 21, BIND))
                assert read_exactly(client, 2) == b"\x05\x00"
                assert read_reply(client)[1].host == family


# The end of a wait


def test_a_wait_has_a_limit(backend: str) -> None:
    for protocol, code in (("socks5", 6), ("socks4", 91)):
        with serve_in_thread(backend=backend, connect_timeout_s=0.1) as nat, waiting(nat, protocol) as client:
            first = client.reply()
            assert client.reply().code == code
            assert read_to_end(client.sock) == b""
            assert nat.wait_for("bind-failed").fields["failure"] == "timed out"
            nat.wait_for("flow-ended")
            with pytest.raises(ConnectionRefusedError):
                connect_from(PEER, first.address)


@pytest.mark.parametrize("ending", ["fin", "rst"])
def test_a_client_that_goes_away_waits_no_more(nat: RunningRelay, ending: str) -> None:
    with waiting(nat) as client:
        first = client.reply()
        if ending == "rst":
            reset(client.sock)
        else:
            client.sock.close()
        ended = nat.wait_for("flow-ended", because="internal-peer").fields
        assert (ended["internal"], ended["internal_because"]) == (ending, "peer")
        with pytest.raises(ConnectionRefusedError):
            connect_from(PEER, first.address)
        assert nat.flow_count == 0


def test_a_peer_without_an_address_is_refused(nat: RunningRelay, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relay.net.resolve.addresses_of", lambda name, flags=0: [])
    with waiting(nat, peer="no.test") as client:
        assert client.reply().code == 4  # X'04': host unreachable


def test_a_client_has_a_limited_number_of_waits(nat: RunningRelay, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relay.driver.doors.MAX_OF_ONE_CLIENT", 1)
    with waiting(nat) as first, waiting(nat) as second:
        assert first.reply().code == 0
        assert second.reply().code == 1
    with waiting(nat, "socks4") as third:
        nat.wait_for("flow-ended", because="internal-peer")
        assert third.reply().code in {0, 91}


def test_a_behaviour_may_refuse_the_peer_and_the_client_gets_its_second_reply(backend: str) -> None:
    with serve_in_thread(backend=backend, refuse_dial={}) as nat, waiting(nat) as client:
        first = client.reply()
        demand_reset(PEER, first.address)
        assert client.reply().code == 1
        assert read_to_end(client.sock) == b""


def test_a_behaviours_conditions_are_looked_at_when_the_peer_connects(backend: str) -> None:
    with serve_in_thread(backend=backend, refuse_dial={"when": {"nth": 2}}) as nat:
        for code in (0, 1):
            with waiting(nat) as client:
                first = client.reply()
                if code:
                    demand_reset(PEER, first.address)
                else:
                    connect_from(PEER, first.address).close()
                assert client.reply().code == code


def test_a_frozen_peer_is_let_in_when_it_is_thawed(nat: RunningRelay) -> None:
    with waiting(nat) as client:
        first = client.reply()
        nat.freeze("server")
        with connect_from(PEER, first.address) as peer:
            peer.sendall(b"hello")
            assert client.reply().code == 0
            nat.thaw("server")
            assert read_exactly(client.sock, 5) == b"hello"
