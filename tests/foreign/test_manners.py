"""What other proxies have been seen to get wrong, each a test."""

from __future__ import annotations

import base64
import contextlib
import socket
import statistics
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from relay.testing import RunningRelay, serve_in_thread
from support.clients import FRONT_ENDS, PASSWORD, USER, connect, read_socks5_reply, socks5_request
from support.measuring import least
from support.origins import Origin, black_hole, echo, read_exactly, read_until_over, refusing_port, reset
from support.programs import serve

SLOW_DIALS = 50
ROUNDS = 20


@contextlib.contextmanager
def caller(nat: RunningRelay) -> Iterator[socket.socket]:
    """A connection to the proxy port that has said nothing yet."""
    with socket.create_connection((nat.address.host, nat.address.port), timeout=20) as client:
        yield client


def answer_to(nat: RunningRelay, *words: bytes) -> tuple[bytes, str]:
    """All that the proxy answers to these words, and how it ends the connection."""
    with caller(nat) as client:
        for word in words:
            client.sendall(word)
        return read_until_over(client)


def status_of(answer: bytes) -> int:
    assert answer.startswith(b"HTTP/1.1 "), answer
    return int(answer.split()[1])


def basic(user: str, password: str) -> bytes:
    return b"Proxy-Authorization: Basic " + base64.b64encode(f"{user}:{password}".encode()) + b"\r\n"


def login(user: str, password: str) -> bytes:
    """The message of RFC 1929."""
    return b"\x01" + bytes([len(user)]) + user.encode() + bytes([len(password)]) + password.encode()


# Who may pass


def test_wrong_socks5_credentials_are_refused_also_after_good_ones(guarded: RunningRelay) -> None:
    for user, password, said in [
        (USER, PASSWORD, b"\x01\x00"),
        (USER, "wrong", b"\x01\x01"),
        ("bob", PASSWORD, b"\x01\x01"),
        (USER, PASSWORD + "x", b"\x01\x01"),
        (USER, "", b"\x01\x01"),
        (USER, PASSWORD, b"\x01\x00"),
    ]:
        with caller(guarded) as client:
            client.sendall(b"\x05\x01\x02")
            assert read_exactly(client, 2) == b"\x05\x02"
            client.sendall(login(user, password))
            assert read_exactly(client, 2) == said
            if said[1]:
                assert read_until_over(client) == (b"", "fin")


def test_socks5_without_credentials_is_not_negotiable(guarded: RunningRelay) -> None:
    assert answer_to(guarded, b"\x05\x01\x00") == (b"\x05\xff", "fin")


def test_wrong_basic_credentials_are_refused_also_after_good_ones(guarded: RunningRelay) -> None:
    with Origin(echo) as origin:
        head = f"CONNECT {origin.target} HTTP/1.1\r\nHost: {origin.target}\r\n".encode()
        for user, password, status in [
            (USER, PASSWORD, 200),
            (USER, "wrong", 407),
            ("bob", PASSWORD, 407),
            (USER, "", 407),
            (USER, PASSWORD, 200),
        ]:
            with caller(guarded) as client:
                client.sendall(head + basic(user, password) + b"\r\n" + b"hello")
                assert status_of(read_exactly(client, 12)) == status, (user, password)
                client.shutdown(socket.SHUT_WR)
                assert read_until_over(client)[0].endswith(b"hello") is (status == 200)
        assert origin.accepted == 2


def test_every_request_of_a_connection_has_to_bring_its_credentials(guarded: RunningRelay) -> None:
    def answer(connection: socket.socket) -> None:
        while b"\r\n\r\n" in connection.recv(65536):
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    with Origin(answer) as origin, caller(guarded) as client:
        head = f"GET http://{origin.target}/ HTTP/1.1\r\nHost: {origin.target}\r\n".encode()
        client.sendall(head + basic(USER, PASSWORD) + b"\r\n")
        first = b""
        while not first.endswith(b"\r\n\r\nok"):
            first += read_exactly(client, 1)
        assert status_of(first) == 200
        client.sendall(head + b"\r\n")
        assert status_of(read_until_over(client)[0]) == 407


@pytest.mark.parametrize("request_line", ["CONNECT 127.0.0.1:9 HTTP/1.1", "GET http://127.0.0.1:9/ HTTP/1.1"])
def test_a_407_says_how_to_authenticate(guarded: RunningRelay, request_line: str) -> None:
    answer, how = answer_to(guarded, f"{request_line}\r\nHost: 127.0.0.1:9\r\n\r\n".encode())
    assert (status_of(answer), how) == (407, "fin")
    assert b'\r\nProxy-Authenticate: Basic realm="' in answer


@pytest.mark.parametrize(("user", "code"), [(USER, 0x5A), ("bob", 0x5D), ("", 0x5D), (f"{USER}:{PASSWORD}", 0x5D)])
def test_the_socks4_user_id_is_checked(guarded: RunningRelay, user: str, code: int) -> None:
    with Origin(echo) as origin, caller(guarded) as client:
        client.sendall(b"\x04\x01" + origin.port.to_bytes(2) + b"\x7f\x00\x00\x01" + user.encode() + b"\x00")
        assert read_exactly(client, 8)[:2] == bytes([0, code])


# What may be asked


def test_connect_without_a_port_is_a_bad_request(nat: RunningRelay) -> None:
    answer, how = answer_to(nat, b"CONNECT example.org HTTP/1.1\r\nHost: example.org\r\n\r\n")
    assert (status_of(answer), how) == (400, "fin")
    assert b"has no port" in answer


def test_connect_to_an_ipv6_address_in_brackets(nat: RunningRelay) -> None:
    with Origin(echo, "::1") as origin, connect(nat, "http-connect", "::1", origin.port, early=b"six") as client:
        assert read_exactly(client, 3) == b"six"


def test_an_over_long_request_line_is_a_414(nat: RunningRelay) -> None:
    answer, how = answer_to(nat, b"GET http://127.0.0.1:9/" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n")
    assert (status_of(answer), how) == (414, "fin")


def test_the_answer_to_a_megabyte_of_headers_arrives(nat: RunningRelay) -> None:
    """The client is still sending when it is turned away; a close then would reset the answer out of its hands."""
    headers = [b"X-%d: %s\r\n" % (number, b"h" * 1000) for number in range(1000)]
    with caller(nat) as client:
        client.sendall(b"GET http://127.0.0.1:9/ HTTP/1.1\r\nHost: 127.0.0.1:9\r\n" + b"".join(headers[:100]))
        nat.wait_for("handshake-failed")
        for header in headers[100:]:
            client.sendall(header)
        client.sendall(b"\r\n")
        answer, how = read_until_over(client)
    assert (status_of(answer), how) == (431, "fin")


@pytest.mark.parametrize("command", [0, 4])
def test_other_socks5_commands_are_not_supported(nat: RunningRelay, command: int) -> None:
    answer = answer_to(nat, b"\x05\x01\x00" + socks5_request("127.0.0.1", 9, command))
    assert answer == (b"\x05\x00" + b"\x05\x07\x00\x01" + bytes(6), "fin")


def test_other_socks4_commands_are_rejected(nat: RunningRelay) -> None:
    assert answer_to(nat, b"\x04\x03\x00\x09\x7f\x00\x00\x01me\x00") == (b"\x00\x5b" + bytes(6), "fin")


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_socks5_failure_is_a_whole_reply(nat: RunningRelay, host: str) -> None:
    with refusing_port(host) as port:
        answer = answer_to(nat, b"\x05\x01\x00" + socks5_request(host, port))
    assert answer == (b"\x05\x00" + b"\x05\x05\x00\x01" + bytes(6), "fin")


def test_a_socks5_success_names_the_address_that_was_dialled_from(nat: RunningRelay) -> None:
    peers: list[tuple[str, int]] = []
    with Origin(lambda connection: peers.append(connection.getpeername())) as origin, caller(nat) as client:
        client.sendall(b"\x05\x01\x00" + socks5_request("127.0.0.1", origin.port))
        reply = read_exactly(client, 12)[2:]
        assert read_until_over(client) == (b"", "fin")
    assert reply == b"\x05\x00\x00\x01\x7f\x00\x00\x01" + peers[0][1].to_bytes(2)


def test_a_failed_login_in_the_segment_of_the_greeting_gets_both_answers(guarded: RunningRelay) -> None:
    assert answer_to(guarded, b"\x05\x01\x02" + login(USER, "wrong")) == (b"\x05\x02" + b"\x01\x01", "fin")


def test_a_request_may_trickle_in_byte_by_byte(nat: RunningRelay) -> None:
    with Origin(echo) as origin, caller(nat) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.sendall(b"\x05\x01\x00")
        assert read_exactly(client, 2) == b"\x05\x00"
        for byte in socks5_request("127.0.0.1", origin.port):
            client.sendall(bytes([byte]))
        assert read_socks5_reply(client) == 0
        client.sendall(b"hello")
        assert read_exactly(client, 5) == b"hello"


# Whom others do not disturb


def test_probes_of_the_port_leave_no_trace(tmp_path: Path, backend: str) -> None:
    """Health checks connect and go, in order or with a RST, with a word of nonsense or without."""
    with serve(tmp_path, "--backend", backend) as nat:
        for word in (b"", b"\x00", b"\x16\x03\x01\x02\x00\x01", b"GET", b"\x05", b"\x05\x01\x00", b"\x04\x01"):
            for end in (socket.socket.close, reset):
                with socket.create_connection(("127.0.0.1", nat.port), timeout=60) as client:
                    client.sendall(word)
                    end(client)
        with Origin(echo) as origin, socket.create_connection(("127.0.0.1", nat.port), timeout=60) as client:
            client.sendall(b"\x05\x01\x00" + socks5_request("127.0.0.1", origin.port))
            read_exactly(client, 2)
            assert read_socks5_reply(client) == 0
        assert nat.wait_for("flow-ended")
        told = [record["event"] for record in nat.events()]
        assert "fault" not in told
        assert "fault" not in nat.stderr()
        assert "Error" not in nat.stderr()  # a Traceback is looked for when it stops


def test_a_client_that_talks_on_after_its_refusal_delays_no_other(nat: RunningRelay) -> None:
    """What it says is read and dropped, but not for as long as it likes."""
    over = threading.Event()

    def talk_on(client: socket.socket) -> None:
        words = bytes(1 << 20)
        with contextlib.suppress(ConnectionError, TimeoutError):
            while not over.is_set():
                client.sendall(words)

    with Origin(echo) as origin, caller(nat) as client:
        client.sendall(b"GET nothing\r\n\r\n")
        talker = threading.Thread(target=talk_on, args=(client,))
        talker.start()
        try:
            nat.wait_for("handshake-failed")
            assert least(lambda: round_trip_s(nat, "socks5", origin), 0.25) < 0.25
        finally:
            over.set()
            talker.join()


@pytest.mark.parametrize("front_end", FRONT_ENDS)
def test_slow_dials_delay_no_other_client(backend: str, front_end: str) -> None:
    with (
        serve_in_thread(backend=backend, connect_timeout_s=30) as nat,
        Origin(echo) as origin,
        black_hole() as nowhere,
        contextlib.ExitStack() as waiting,
    ):
        alone_s = round_trip_s(nat, front_end, origin)
        limit_s = max(10 * alone_s, 0.05)
        for _ in range(SLOW_DIALS):
            client = waiting.enter_context(socket.create_connection((nat.address.host, nat.address.port)))
            client.sendall(b"\x05\x01\x00" + socks5_request("127.0.0.1", nowhere))
        nat.wait_for("flow-opened", destination=f"127.0.0.1:{nowhere}")
        beside_s = least(lambda: round_trip_s(nat, front_end, origin), limit_s)
        assert beside_s < limit_s, f"{alone_s * 1e3:.1f} ms alone, {beside_s * 1e3:.1f} ms beside"


def round_trip_s(nat: RunningRelay, front_end: str, origin: Origin) -> float:
    """The median time from connecting to the first echo."""
    times_s = []
    for _ in range(ROUNDS):
        began_s = time.perf_counter()
        with connect(nat, front_end, origin.host, origin.port) as client:
            client.sendall(b"x")
            assert read_exactly(client, 1) == b"x"
        times_s.append(time.perf_counter() - began_s)
    return statistics.median(times_s)
