"""In which order the two handshakes of a flow complete, as the wire shows it, and what becomes of an unwanted dial."""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from relay.testing import RunningRelay, serve_in_thread
from support.capabilities import need_capture
from support.capture import Capture, Packet
from support.clients import Refused, connect, socks5_request, whole_request
from support.origins import black_hole, read_exactly, read_until_over, refusing_port, reset

WITH_A_REPLY = ("socks4", "socks5", "http-connect")
REFUSED = {"socks4": 0x5B, "socks5": 0x05, "http-connect": 502}
TIMED_OUT = {"socks4": 0x5B, "socks5": 0x06, "http-connect": 504}
VMWARE = ("vmware-fusion", "vmware-workstation", "vmware-workstation-16")
INTERNAL_FIRST = {"order": "internal-first"}
SYN_RETRY_S = 1.0  # RFC 6298 section 2.1


class BusyServer:
    """A listener with a full backlog: it answers no SYN before `recover`, and then the next one that comes.

    A kernel completes handshakes without asking the program: a slow program alone makes no slow handshake.
    """

    def __init__(self) -> None:
        self._listener = socket.socket()
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(0)
        self.port: int = self._listener.getsockname()[1]
        self._filler = socket.create_connection(("127.0.0.1", self.port))

    def __enter__(self) -> BusyServer:
        return self

    def __exit__(self, *_: object) -> None:
        self._filler.close()
        self._listener.close()

    def recover(self) -> None:
        self._listener.accept()[0].close()

    def accept(self, timeout_s: float = 10.0) -> socket.socket:
        """The next connection.

        Raises:
            TimeoutError: there was none in time.
        """
        self._listener.settimeout(timeout_s)
        connection, _ = self._listener.accept()
        connection.settimeout(60)
        return connection


def dialling(port: int) -> bool:
    """Whether a socket of this host still waits for the answer to its SYN to this port."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return any(row[2].endswith(f":{port:04X}") and row[3] == "02" for row in rows)  # tcp_states.h: SYN_SENT


def answers(capture: Capture) -> list[Packet]:
    """What the front end that is watched said, the choice of a SOCKS5 method apart."""
    said = [packet for packet in capture.packets if packet.source_port in capture.ports and packet.data_bytes]
    return [packet for packet in said if packet.data_bytes != 2]


def established_s(capture: Capture, port: int) -> float:
    """When the handshake with the server on this port was complete: at the ACK of its SYN and ACK."""
    answered = next(packet for packet in capture.packets if packet.source_port == port and packet.flags == "SA")
    return next(
        packet.at_s
        for packet in capture.packets
        if packet.target_port == port and "A" in packet.flags and packet.ack == (answered.seq + 1) % (1 << 32)
    )


@pytest.mark.parametrize("front_end", WITH_A_REPLY)
def test_the_reply_follows_the_servers_handshake_however_long_it_takes(backend: str, front_end: str) -> None:
    need_capture()
    with (
        BusyServer() as server,
        serve_in_thread("vmware-fusion", backend=backend) as nat,
        Capture(nat.address.port) as internal,
        Capture(server.port) as external,
        ThreadPoolExecutor(1) as pool,
    ):
        connected = pool.submit(connect, nat, front_end, "127.0.0.1", server.port)
        external.wait_for("S", toward=True)
        server.recover()
        with server.accept(), connected.result(60):
            pass
    [reply] = answers(internal)
    assert reply.at_s > established_s(external, server.port)
    assert reply.at_s - external.packets[0].at_s >= SYN_RETRY_S


@pytest.mark.parametrize("front_end", WITH_A_REPLY)
def test_a_refusal_follows_the_servers(backend: str, front_end: str) -> None:
    need_capture()
    with (
        refusing_port() as port,
        serve_in_thread("vmware-fusion", backend=backend) as nat,
        Capture(nat.address.port) as internal,
        Capture(port) as external,
        pytest.raises(Refused) as refused,
    ):
        connect(nat, front_end, "127.0.0.1", port)
    assert refused.value.code == REFUSED[front_end]
    assert external.lines() == ["> S", "< RA"]
    assert answers(internal)[0].at_s > external.packets[1].at_s


@pytest.mark.parametrize("front_end", WITH_A_REPLY)
def test_a_black_hole_is_not_answered_for_before_the_dial_is_given_up(backend: str, front_end: str) -> None:
    need_capture()
    with (
        black_hole() as port,
        serve_in_thread("vmware-fusion", backend=backend, connect_timeout_s=1) as nat,
        Capture(nat.address.port) as internal,
        Capture(port) as external,
        pytest.raises(Refused) as refused,
    ):
        connect(nat, front_end, "127.0.0.1", port)
    assert refused.value.code == TIMED_OUT[front_end]
    assert set(external.lines()) == {"> S"}
    asked = [packet for packet in internal.packets if packet.target_port in internal.ports and packet.data_bytes][-1]
    assert answers(internal)[0].at_s - asked.at_s >= 1.0


def test_a_forwards_client_is_reset_after_the_server_refused(backend: str) -> None:
    need_capture()
    with refusing_port() as port, serve_in_thread("vmware-fusion", backend=backend) as nat, Capture(port) as external:
        forwarded = nat.forward("127.0.0.1", port)
        with (
            Capture(forwarded.port) as internal,
            pytest.raises(ConnectionResetError),  # by connect itself, if the RST is very quick
            socket.create_connection((forwarded.host, forwarded.port), 60) as sock,
        ):
            sock.recv(1)
    assert external.lines() == ["> S", "< RA"]
    last = next(packet for packet in internal.packets if "R" in packet.flags)
    assert last.source_port in internal.ports
    assert last.at_s > external.packets[1].at_s


def ask_and_vanish(nat: RunningRelay, front_end: str, server: BusyServer, how: str) -> None:
    """Ask for a connection to the server, and reset while it is being dialled."""
    with Capture(server.port) as external:
        if front_end == "forward":
            forwarded = nat.forward("127.0.0.1", server.port)
            sock = socket.create_connection((forwarded.host, forwarded.port), 60)
        else:
            sock = socket.create_connection((nat.address.host, nat.address.port), 60)
            sock.sendall(b"\x05\x01\x00")
            read_exactly(sock, 2)
            sock.sendall(socks5_request("127.0.0.1", server.port))
        external.wait_for("S", toward=True)
    if how == "rst behind a fin":
        sock.shutdown(socket.SHUT_WR)
    reset(sock)
    nat.wait_for("initiator-vanished")


VARIANTS = (("socks5", "rst"), ("socks5", "rst behind a fin"), ("forward", "rst"))


@pytest.mark.parametrize(("front_end", "how"), VARIANTS)
@pytest.mark.parametrize("profile", VMWARE)
def test_the_server_gets_the_connection_of_a_client_that_is_gone(
    backend: str, profile: str, front_end: str, how: str
) -> None:
    need_capture()
    with BusyServer() as server, serve_in_thread(profile, backend=backend) as nat:
        ask_and_vanish(nat, front_end, server, how)
        server.recover()
        with server.accept() as connection:
            assert read_until_over(connection) == (b"", "fin")
        nat.wait_for("flow-ended", internal="abandoned", external="fin", external_because="precomplete-handshake")


@pytest.mark.parametrize(("front_end", "how"), VARIANTS)
def test_without_the_quirk_a_client_that_is_gone_takes_its_dial_along(backend: str, front_end: str, how: str) -> None:
    need_capture()
    with BusyServer() as server, serve_in_thread("transparent", backend=backend) as nat:
        ask_and_vanish(nat, front_end, server, how)
        nat.wait_for("dial-abandoned", because="precomplete-handshake")
        nat.wait_for("flow-ended", internal="abandoned", external=None)
        assert not dialling(server.port)
        with Capture(server.port) as external:
            server.recover()
            with pytest.raises(TimeoutError):
                server.accept(SYN_RETRY_S + 0.3)
        assert [line for line in external.lines() if "S" in line] == []


@pytest.mark.parametrize("profile", ["transparent", "vmware-fusion"])
def test_a_fin_while_it_is_dialled_is_the_end_of_what_the_client_says_and_no_more(backend: str, profile: str) -> None:
    need_capture()
    with BusyServer() as server, serve_in_thread(profile, backend=backend) as nat:
        address = (nat.address.host, nat.address.port)
        with Capture(server.port) as external, socket.create_connection(address, 60) as sock:
            sock.sendall(whole_request("socks5", "127.0.0.1", server.port))
            sock.shutdown(socket.SHUT_WR)
            external.wait_for("S", toward=True)
            server.recover()
            with server.accept() as connection:
                assert connection.recv(1) == b""
                connection.sendall(b"late")
            assert read_exactly(sock, 2 + 10)[:4] == b"\x05\x00\x05\x00"
            assert read_until_over(sock) == (b"late", "fin")


@pytest.mark.parametrize("profile", ["transparent", "vmware-fusion"])
def test_a_client_that_closes_while_it_is_dialled_is_gone_once_it_answers_its_grant_with_a_rst(
    backend: str, profile: str
) -> None:
    need_capture()
    with BusyServer() as server, serve_in_thread(profile, backend=backend) as nat:
        address = (nat.address.host, nat.address.port)
        with Capture(server.port) as external, socket.create_connection(address, 60) as sock:
            sock.sendall(whole_request("socks4", "127.0.0.1", server.port))
            external.wait_for("S", toward=True)
        server.recover()
        with server.accept() as connection:
            nat.wait_for("rst-received", side="internal")
            assert connection.recv(1) == b""
        nat.wait_for("flow-ended", internal="rst", internal_because="peer")


@pytest.mark.parametrize("front_end", WITH_A_REPLY)
def test_internal_first_grants_before_the_server_answers(backend: str, front_end: str) -> None:
    need_capture()
    with (
        BusyServer() as server,
        serve_in_thread("vmware-fusion", backend=backend, precomplete_handshake=INTERNAL_FIRST) as nat,
        Capture(server.port) as external,
        connect(nat, front_end, "127.0.0.1", server.port) as sock,
    ):
        sock.sendall(b"early")
        external.wait_for("S", toward=True)
        assert "SA" not in {packet.flags for packet in external.packets}
        server.recover()
        with server.accept() as connection:
            assert read_exactly(connection, 5) == b"early"
            connection.sendall(b"late")
            assert read_exactly(sock, 4) == b"late"


@pytest.mark.parametrize("front_end", WITH_A_REPLY)
def test_internal_first_resets_a_client_whose_server_refuses(backend: str, front_end: str) -> None:
    with (
        refusing_port() as port,
        serve_in_thread(backend=backend, precomplete_handshake=INTERNAL_FIRST) as nat,
    ):
        with connect(nat, front_end, "127.0.0.1", port) as sock, pytest.raises(ConnectionResetError):
            sock.recv(1)
        nat.wait_for("rst-sent", side="internal", because="precomplete-handshake")
