"""SOCKS5 UDP ASSOCIATE: datagrams through the relay, with real sockets on both sides."""

from __future__ import annotations

import errno
import hashlib
import os
import random
import socket
import threading
from collections.abc import Iterator

import dns.message
import dns.query
import pytest
import socks  # type: ignore[import-untyped]  # it has no types

from relay.config import configure
from relay.control import SetFault
from relay.errors import ConfigError
from relay.events import Side
from relay.fault import Fault
from relay.net.association import Association
from relay.net.mapping import ServerLeg
from relay.shape import Shape
from relay.testing import RunningRelay, serve_in_thread
from support.dns_server import DnsServer, records
from support.masses import descriptors, wait_until
from support.origins import reset
from support.socks_udp import Associated, framed, udp_server

_HELLO = b"hello"


@pytest.fixture
def nat(backend: str) -> Iterator[RunningRelay]:
    with serve_in_thread("transparent", backend=backend) as running:
        yield running


def dropped(nat: RunningRelay) -> dict[str, int]:
    """How many datagrams were dropped, by reason, as far as the log says."""
    return {
        record.fields["reason"]: record.fields["datagrams"]
        for record in nat.events
        if record.event == "datagrams-dropped"
    }


def test_dnspython_asks_a_name_server_through_pysocks(nat: RunningRelay) -> None:
    query = dns.message.make_query("www.test", "A")
    with DnsServer(records("www.test A 192.0.2.80")) as server, socks.socksocket(type=socket.SOCK_DGRAM) as sock:
        sock.set_proxy(socks.SOCKS5, nat.address.host, nat.address.port)
        sock.setblocking(True)
        answer = dns.query.udp(query, server.endpoint.host, port=server.endpoint.port, sock=sock, timeout=60)
        assert "192.0.2.80" in str(answer.answer[0])
    ended = nat.wait_for("flow-ended", destination=str(server.endpoint))
    assert ended.fields["because"] == "association-ended"
    assert (ended.fields["bytes_out"], ended.fields["bytes_in"]) == (len(query.to_wire()), len(answer.to_wire()))
    opened = nat.wait_for("flow-opened", via="socks5-udp")
    assert (opened.flow, opened.fields["destination"]) == (ended.flow, str(server.endpoint))
    assert ended.process is not None
    assert ended.process[0] == os.getpid()


def test_datagrams_of_every_size_arrive_whole_and_one_by_one(nat: RunningRelay) -> None:
    sizes = [0, 1, 1472, 9000, 65_000, *(random.Random(7).randrange(3000) for _ in range(60))]  # noqa: S311 - sizes
    with udp_server() as server, Associated(nat.address.port) as app:
        for size in sizes:
            payload = hashlib.shake_128(str(size).encode()).digest(size)
            app.send(payload, server.address)
            server.echo()
            assert app.receive() == (payload, server.address)
    ended = nat.wait_for("flow-ended", destination="{}:{}".format(*server.address)).fields
    assert ended["bytes_out"] == ended["bytes_in"] == sum(sizes)
    assert (ended["internal"], ended["external"]) == ("silence", "silence")


def test_one_mapping_serves_all_destinations_of_both_families(nat: RunningRelay) -> None:
    with (
        udp_server() as one,
        udp_server() as other,
        udp_server("::1") as third,
        Associated(nat.address.port) as app,
    ):
        for server in (one, other, third):
            app.send(_HELLO, server.address)
        assert one.echo()[1] == other.echo()[1]
        third.echo()
        assert {app.receive()[1] for _ in range(3)} == {one.address, other.address, third.address}
        assert len([flow for flow in nat.flows if flow.destination]) == 1


def test_an_association_over_ipv6(backend: str) -> None:
    with (
        serve_in_thread(backend=backend, listen="[::1]:0") as nat,
        udp_server() as server,
        Associated(nat.address.port, host="::1") as app,
    ):
        app.send(_HELLO, server.address)
        server.echo()
        assert app.receive() == (_HELLO, server.address)


def test_datagrams_pass_however_sockets_are_waited_for_and_in_turns(
    readiness: str, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relay.net.association._BURST", 2)
    monkeypatch.setattr("relay.driver.datagrams._BURST", 2)
    with (
        serve_in_thread("transparent", backend=backend) as nat,
        udp_server() as server,
        udp_server() as other,
        Associated(nat.address.port, names_its_port=True) as app,
    ):
        for _ in range(2):  # without a mapping, and with one
            nat.freeze("app")
            for _ in range(5):
                app.send_raw(framed(b"not mine", *server.address), by=other.sock)
            for number in range(5):
                app.send(bytes([number]), server.address)
            nat.thaw("app")
            assert [server.echo() and app.receive()[0] for _ in range(5)] == [bytes([number]) for number in range(5)]


# The end of a mapping


def test_an_idle_mapping_ends_after_the_profiles_time_and_its_replies_are_dropped(backend: str) -> None:
    with (
        serve_in_thread("vmware-fusion", backend=backend, clock="manual") as nat,
        udp_server() as server,
        Associated(nat.address.port) as app,
    ):
        app.send(_HELLO, server.address)
        old = server.echo()
        app.receive()
        nat.advance(59)  # udp_idle_s is 60
        assert nat.flow_count == 2
        nat.advance(61)
        ended = nat.wait_for("flow-ended", because="udp-timeout").fields
        assert (ended["internal"], ended["external"]) == ("silence", "silence")
        server.sock.sendto(b"late", old)
        app.send(b"again", server.address)
        assert server.echo() != old
        assert app.receive() == (b"again", server.address)


def test_datagrams_either_way_keep_a_mapping_and_zero_keeps_it_for_ever(backend: str) -> None:
    with (
        serve_in_thread("transparent", backend=backend, clock="manual", stack={"udp_idle_s": 10}) as nat,
        udp_server() as server,
        Associated(nat.address.port) as app,
    ):
        app.send(b"", server.address)
        source = server.echo()
        app.receive()
        for _ in range(3):
            nat.advance(9)
            server.sock.sendto(b"", source)
            app.receive()
            nat.advance(9)
            app.send(b"", server.address)
            assert server.hear()[1] == source
    with (
        serve_in_thread("transparent", backend=backend, clock="manual", stack={"udp_idle_s": 0}) as nat,
        udp_server() as server,
        Associated(nat.address.port) as app,
    ):
        app.send(b"", server.address)
        source = server.echo()
        nat.advance(1_000_000)
        app.send(b"", server.address)
        assert server.hear()[1] == source


def test_the_time_is_a_setting_of_the_stack_that_a_relay_with_a_proxy_has() -> None:
    assert configure(settings=["stack.udp_idle_s=7"]).profile.stack.build().udp_idle_s == 7
    with pytest.raises(ConfigError, match="the stack is for guests"):
        configure(listen=None, forwards=["0:127.0.0.1:9"], settings=["stack.udp_idle_s=7"])


# "A UDP association terminates when the TCP connection that the UDP ASSOCIATE request arrived on terminates."
@pytest.mark.parametrize("ending", ["fin", "rst"])
def test_the_association_ends_with_its_tcp_connection(nat: RunningRelay, ending: str) -> None:
    with udp_server() as server, Associated(nat.address.port) as app:
        app.send(_HELLO, server.address)
        source = server.echo()
        app.receive()
        app.control.sendall(b"this means nothing")
        if ending == "rst":
            reset(app.control)
        else:
            app.control.close()
        assert nat.wait_for("flow-ended", because="association-ended").flow == 2
        association = nat.wait_for("flow-ended", because="internal-peer")
        assert association.flow == 1
        assert (association.fields["internal"], association.fields["internal_because"]) == (ending, "peer")
        server.sock.sendto(b"late", source)
        app.send(b"late", server.address)
        assert server.hears_nothing()
        assert app.hears_nothing()
        assert nat.flow_count == 0


# Who may use it


# "It MUST drop any datagrams arriving from any source IP address other than the one recorded for the particular
# association."
def test_datagrams_from_another_address_are_dropped(nat: RunningRelay) -> None:
    with udp_server() as server, Associated(nat.address.port, source="127.0.0.2") as stranger:
        stranger.send(_HELLO, server.address)
        assert server.hears_nothing()
        assert dropped(nat) == {"not from the client": 1}


def test_the_first_datagrams_port_is_the_clients_from_then_on(nat: RunningRelay) -> None:
    with udp_server() as server, udp_server() as other, Associated(nat.address.port) as app:
        app.send(_HELLO, server.address)
        server.echo()
        app.receive()
        for _ in range(3):
            app.send_raw(framed(b"not mine", *server.address), by=other.sock)
        assert server.hears_nothing()
        assert other.hears_nothing()
    nat.wait_for("datagrams-dropped", reason="not from the client", datagrams=3)


# "The server MAY use this information to limit access to the association."
def test_a_port_that_the_client_has_named_is_the_only_one(nat: RunningRelay) -> None:
    with udp_server() as server, udp_server() as other, Associated(nat.address.port, names_its_port=True) as app:
        app.send_raw(framed(b"first, and not mine", *server.address), by=other.sock)
        app.send(_HELLO, server.address)
        assert server.echo()
        assert app.receive() == (_HELLO, server.address)


def test_the_client_is_sent_nothing_before_its_first_datagram(nat: RunningRelay) -> None:
    with udp_server() as server, Associated(nat.address.port, names_its_port=True) as app:
        for _ in range(3):
            server.sock.sendto(framed(b"x" * 1000, *server.address), app.relay)
        assert app.hears_nothing()
        assert nat.flow_count == 1


def test_credentials_are_asked_for(backend: str) -> None:
    with serve_in_thread(backend=backend, auth="ann:secret") as nat, socks.socksocket(type=socket.SOCK_DGRAM) as sock:
        sock.set_proxy(socks.SOCKS5, *nat.address, username="ann", password="wrong")
        with pytest.raises(socks.SOCKS5AuthError):
            sock.bind(("127.0.0.1", 0))


def test_what_cannot_be_read_is_dropped_and_counted_and_the_next_arrives(nat: RunningRelay) -> None:
    with udp_server() as server, Associated(nat.address.port) as app:
        app.send_raw(framed(b"half", *server.address, fragment=1))
        app.send_raw(framed(b"half", *server.address, fragment=0x82))
        app.send_raw(b"")
        app.send_raw(framed(b"", *server.address)[:-1])
        app.send_raw(b"\x00\x00\x00\x09" + bytes(20))
        app.send(_HELLO, ("127.0.0.1", 0))
        app.send(_HELLO, server.address)
        assert server.hear()[0] == _HELLO
        app.control.close()
        nat.wait_for("flow-ended", because="internal-peer")
    assert dropped(nat) == {"a fragment": 2, "cut off": 2, "address type unknown": 1, "to port 0": 1}


# Where datagrams may go


def test_a_name_that_the_relay_was_given_an_address_for_is_not_looked_up(backend: str) -> None:
    with (
        udp_server() as server,
        serve_in_thread(backend=backend, resolve=[f"api.test:{server.address[1]}:127.0.0.1"]) as nat,
        Associated(nat.address.port) as app,
    ):
        app.send(_HELLO, ("API.test", server.address[1]))
        server.echo()
        assert app.receive() == (_HELLO, server.address)


def test_a_name_that_is_looked_up_slowly_holds_up_no_other_datagram(
    nat: RunningRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered, asked = threading.Event(), list[str]()

    def addresses_of(name: str, flags: int = 0) -> list[str]:
        asked.append(name)
        answered.wait(60)
        return ["127.0.0.1"] if name == "slow.test" else []

    monkeypatch.setattr("relay.net.resolve.addresses_of", addresses_of)
    with udp_server() as server, Associated(nat.address.port) as app:
        for number in range(80):
            app.send(str(number).encode(), ("slow.test", server.address[1]))
        app.send(_HELLO, server.address)
        assert server.hear()[0] == _HELLO
        answered.set()
        assert [server.hear()[0] for _ in range(64)] == [str(number).encode() for number in range(64)]
        app.send(b"known by now", ("slow.test", server.address[1]))
        assert server.hear()[0] == b"known by now"
        assert asked == ["slow.test"]
        app.send(_HELLO, ("no.test", 53))
        wait_until(lambda: "name not resolved" in dropped(nat), lambda: str(dropped(nat)))


def test_datagrams_do_not_go_to_the_relay_itself_or_to_a_group(nat: RunningRelay) -> None:
    with udp_server() as server, Associated(nat.address.port) as app, Associated(nat.address.port) as other:
        for spelling in ("127.0.0.1", "0.0.0.0", "127.1", "::ffff:127.0.0.1"):
            app.send(framed(_HELLO, *server.address), (spelling, other.relay.port))
        app.send(framed(_HELLO, *server.address), app.relay)
        app.send(_HELLO, ("239.1.2.3", 9))
        app.send(_HELLO, server.address)
        assert server.hear()[0] == _HELLO
        assert server.hears_nothing()
        app.control.close()
        nat.wait_for("flow-ended", because="internal-peer")
        assert dropped(nat) == {"to the relay itself": 5, "to a group": 1}


def test_datagrams_leave_from_the_source_that_was_given(backend: str) -> None:
    with (
        udp_server() as server,
        serve_in_thread(backend=backend, source="127.0.0.3") as nat,
        Associated(nat.address.port) as app,
    ):
        app.send(_HELLO, server.address)
        assert server.echo()[0] == "127.0.0.3"
        app.send(_HELLO, ("::1", server.address[1]))  # the source is of another family
        app.send(_HELLO, server.address)
        server.echo()
        assert len(dropped(nat)) == 1


# Limits


def test_a_client_has_a_limited_number_of_associations(nat: RunningRelay, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relay.driver.doors.MAX_OF_ONE_CLIENT", 2)
    with Associated(nat.address.port), Associated(nat.address.port) as second, Associated(nat.address.port) as third:
        assert (second.code, third.code) == (0, 1)  # X'01': general SOCKS server failure
        assert "as many as it may" in nat.wait_for("association-refused").fields["reason"]
        second.control.close()
        nat.wait_for("flow-ended", because="internal-peer")
        with Associated(nat.address.port) as fourth:
            assert fourth.code == 0


def test_mappings_are_flows_and_count_as_such(backend: str) -> None:
    with (
        udp_server() as server,
        serve_in_thread(backend=backend, max_flows=2) as nat,
        Associated(nat.address.port) as one,
        Associated(nat.address.port) as other,
    ):
        one.send(_HELLO, server.address)
        assert server.hears_nothing()
        assert dropped(nat) == {"beyond --max-flows": 1}
        other.control.close()
        nat.wait_for("flow-ended", because="internal-peer")
        one.send(_HELLO, server.address)
        server.echo()
        assert one.receive()[0] == _HELLO


def test_without_a_socket_there_is_no_mapping_and_the_next_datagram_asks_again(
    nat: RunningRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    def open_none(leg: ServerLeg, family: socket.AddressFamily) -> socket.socket:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with udp_server() as server, Associated(nat.address.port) as app:
        with monkeypatch.context() as without:
            without.setattr(ServerLeg, "open", open_none)
            app.send(_HELLO, server.address)
            assert nat.wait_for("dial-failed").fields["failure"] == "out of resources"
            assert nat.wait_for("flow-ended").fields["because"] == "destination"
        app.send(_HELLO, server.address)
        server.echo()
        assert app.receive()[0] == _HELLO


@pytest.mark.parametrize("number", [errno.EMFILE, errno.EADDRNOTAVAIL])
def test_without_a_socket_near_the_client_there_is_no_association(
    nat: RunningRelay, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def open_none(*_: object, **__: object) -> Association:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("relay.driver.associating.Association", open_none)
    with Associated(nat.address.port) as app:
        assert app.code == 1
        assert app.control.recv(1) == b""
    assert os.strerror(number) in nat.wait_for("association-refused").fields["reason"]


def test_an_association_leaves_no_descriptor_behind(nat: RunningRelay) -> None:
    def use_some() -> None:
        for _ in range(4):
            with Associated(nat.address.port) as app:
                app.send(_HELLO, server.address)
                server.echo()
                app.receive()
        wait_until(lambda: nat.flow_count == 0, lambda: f"{nat.flow_count} flows are open")

    with udp_server() as server:
        use_some()  # with the first the relay opens what it looks for processes by, and keeps that
        before = descriptors(os.getpid())
        use_some()
        wait_until(lambda: len(descriptors(os.getpid())) <= len(before), lambda: str(descriptors(os.getpid()) - before))


# Commands


@pytest.mark.parametrize("side", ["app", "server"])
def test_a_frozen_side_is_neither_read_nor_written_until_it_is_thawed(nat: RunningRelay, side: str) -> None:
    with udp_server() as server, Associated(nat.address.port) as app:
        app.send(_HELLO, server.address)
        source = server.echo()
        app.receive()
        nat.freeze(side)  # type: ignore[arg-type]
        app.send(b"up", server.address)
        server.sock.sendto(b"down", source)
        assert server.hears_nothing()
        assert app.hears_nothing()
        nat.thaw(side)  # type: ignore[arg-type]
        assert server.hear()[0] == b"up"
        assert app.receive()[0] == b"down"


def test_a_mapping_that_begins_frozen_carries_on_when_thawed(nat: RunningRelay) -> None:
    with udp_server() as server, Associated(nat.address.port) as app:
        nat.freeze("app")
        app.send(b"one", server.address)
        app.send(b"two", server.address)
        assert server.hears_nothing()
        nat.thaw("app")
        assert [server.hear()[0], server.hear()[0]] == [b"one", b"two"]


def test_what_waits_when_a_frozen_mapping_ends_is_the_next_ones(backend: str) -> None:
    with (
        serve_in_thread("vmware-fusion", backend=backend, clock="manual") as nat,
        udp_server() as server,
        Associated(nat.address.port) as app,
    ):
        app.send(_HELLO, server.address)
        server.hear()
        nat.freeze("app")
        app.send(b"kept", server.address)
        nat.advance(121)
        nat.wait_for("flow-ended", because="udp-timeout")
        nat.thaw("app")
        assert server.hear()[0] == b"kept"


def test_a_mapping_outlives_the_links_going_down(backend: str) -> None:
    with (
        serve_in_thread("vmware-fusion", backend=backend) as nat,  # which resets TCP connections then
        udp_server() as server,
        Associated(nat.address.port) as app,
    ):
        app.send(_HELLO, server.address)
        source = server.echo()
        app.receive()
        nat.link_down()
        app.send(_HELLO, server.address)
        assert server.echo() == source
        assert app.receive()[0] == _HELLO


def test_faults_are_for_connections_and_leave_datagrams_alone(nat: RunningRelay) -> None:
    with udp_server() as server, Associated(nat.address.port) as app:
        app.send(_HELLO, server.address)
        server.echo()
        app.receive()
        nat.do(SetFault("slow", Fault(side=Side.EXTERNAL, shape=Shape(delay_s=3600.0))))
        app.send(_HELLO, server.address)
        server.echo()
        assert app.receive()[0] == _HELLO
