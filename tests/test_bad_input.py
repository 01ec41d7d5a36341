"""Whatever a client does, the relay answers or closes, says why in the event log, and serves the next one."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from relay.testing import RunningRelay, serve_in_thread
from support.clients import Refused, ask, connect_by_port, crowd, socks5_request
from support.origins import Origin, echo, read_exactly, read_to_end, read_until_over
from support.ports import free_port
from support.programs import serve, with_few_descriptors

FRONT_ENDS = ("socks4", "socks5", "http-connect")
_REFUSED_CODES = {"socks4": 0x5B, "socks5": 0x01, "http-connect": 400}
_DENIED_CODES = {"socks4": 0x5B, "socks5": 0x02, "http-connect": 403}
_NOT_RESOLVED_CODES = {"socks5": 0x04, "http-connect": 502}
_NO_SUCH_NAME = "x" * 64 + ".test"  # a label may have 63 characters: this needs no look-up

# What a client sends, what it gets before the end (None: anything), and what the event log says.
NONSENSE: dict[str, tuple[bytes, bytes | None, str]] = {
    "garbage": (b"\x00\xff" * 64, b"", "the client speaks neither SOCKS nor HTTP"),
    "a TLS ClientHello": (bytes.fromhex("16030100c8010000c40303") + bytes(200), b"", "a TLS handshake"),
    "ssh": (b"SSH-2.0-OpenSSH_9.9\r\n", b"HTTP/1.1 400 ", "not an HTTP request line"),
    "a request for a web server": (b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n", b"HTTP/1.1 400 ", "this is a proxy"),
    "a header of 1 MB": (b"GET http://a.test/ HTTP/1.1\r\nX: " + b"a" * (1 << 20), b"HTTP/1.1 431 ", "longer than"),
    "CONNECT with 1 MB": (b"CONNECT a.test:1 HTTP/1.1\r\nX: " + b"a" * (1 << 20), b"HTTP/1.1 431 ", "longer than"),
    "a user id of 1 MB": (b"\x04\x01\x00\x50\x7f\x00\x00\x01" + b"u" * (1 << 20), b"\x00\x5b", "user id"),
    "SOCKS5 without a method": (b"\x05\x01\x77", b"\x05\xff", "method"),
    "an unknown command": (b"\x05\x01\x00\x05\x09\x00\x01\x7f\x00\x00\x01\x00\x50", b"\x05\x00\x05\x07", "command 9"),
    "an unknown kind of address": (b"\x05\x01\x00\x05\x01\x00\x09\x01\x00\x00\x50", b"\x05\x00\x05\x08", "address"),
    "nothing but a FIN": (b"", b"", "it closed the connection"),
    "half a request": (b"CONNECT a.test:80 HT", b"", "it closed the connection"),
}


def check_serving(nat: RunningRelay, origin: Origin) -> None:
    with connect_by_port(nat.address.port, "127.0.0.1", origin.port) as sock:
        sock.sendall(b"alive")
        assert read_exactly(sock, 5) == b"alive"


@contextmanager
def serving(backend: str, *, handshake_timeout_s: float = 10.0) -> Iterator[RunningRelay]:
    """A relay that has to be well at the end of the block."""
    with Origin(echo) as origin, serve_in_thread(backend=backend, handshake_timeout_s=handshake_timeout_s) as nat:
        yield nat
        check_serving(nat, origin)
        assert [record.fields for record in nat.events if record.event == "fault"] == []


def client(nat: RunningRelay) -> socket.socket:
    return socket.create_connection((nat.address.host, nat.address.port), timeout=60)


@pytest.mark.parametrize("case", NONSENSE)
def test_nonsense_is_answered_where_its_protocol_has_words_and_the_log_says_why(case: str, backend: str) -> None:
    said, answer, reason = NONSENSE[case]
    with serving(backend) as nat:
        with client(nat) as sock:
            name = "{}:{}".format(*sock.getsockname())
            _send_all(sock, said)
            with suppress(OSError):
                sock.shutdown(socket.SHUT_WR)
            got, _ = read_until_over(sock)
        failed = nat.wait_for("handshake-failed", client=name)
        assert reason in failed.fields["reason"]
        if answer is not None:
            assert got[: len(answer)] == answer
            assert bool(got) is bool(answer)


def test_an_answer_to_nonsense_arrives_whole_even_if_all_was_sent_before_it_is_read(backend: str) -> None:
    with serving(backend) as nat, client(nat) as sock:
        # Were the rest left unread, the close would be a RST, and that takes the answer back.
        sock.sendall(b"GET http://a.test/ HTTP/1.1\r\nX: " + b"a" * (4 << 20))
        sock.shutdown(socket.SHUT_WR)
        got, how = read_until_over(sock)
    head, _, body = got.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 431 ")
    assert b"header fields are longer" in body
    assert how == "fin"


def _send_all(sock: socket.socket, data: bytes) -> None:
    with suppress(ConnectionError):  # it may have had enough before it had all
        sock.sendall(data)


@pytest.mark.parametrize("said", [b"", b"\x05", b"\x05\x01\x00\x05\x01", b"GET http://a.test/ HTTP/1.1\r\n"])
def test_a_client_that_says_too_little_is_dropped_when_its_time_is_over(said: bytes, backend: str) -> None:
    with serving(backend, handshake_timeout_s=0.3) as nat:
        with client(nat) as sock:
            sock.sendall(said)
            read_to_end(sock)
        failed = nat.wait_for("handshake-failed")
        assert failed.fields["reason"] == "no request within 0.3 s"
        assert 0.29 < failed.at_s < 60
        nat.wait_for("flow-ended")
        assert nat.flow_count == 0


@pytest.mark.parametrize("front_end", FRONT_ENDS)
def test_a_client_that_sends_byte_by_byte_is_served(front_end: str, backend: str) -> None:
    class Trickle(socket.socket):
        def sendall(self, data: bytes, flags: int = 0) -> None:  # type: ignore[override]
            for byte in data:
                super().sendall(bytes([byte]), flags)

    with serving(backend) as nat, Origin(echo) as origin, Trickle() as sock:
        sock.settimeout(60)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.connect((nat.address.host, nat.address.port))
        ask(sock, front_end, "127.0.0.1", origin.port)
        sock.sendall(b"over and back")
        assert read_exactly(sock, 13) == b"over and back"


@pytest.mark.parametrize("front_end", _NOT_RESOLVED_CODES)
def test_a_name_that_does_not_resolve_is_refused_as_such(front_end: str, backend: str) -> None:
    with serving(backend) as nat:
        with pytest.raises(Refused) as refused:
            connect_by_port(nat.address.port, _NO_SUCH_NAME, 80, front_end=front_end).close()
        assert refused.value.code == _NOT_RESOLVED_CODES[front_end]
        assert nat.wait_for("dial-failed").fields == {"failure": "name not resolved", "detail": _NO_SUCH_NAME}


@pytest.mark.parametrize("front_end", FRONT_ENDS)
def test_port_0_is_refused(front_end: str, backend: str) -> None:
    with serving(backend) as nat:
        with pytest.raises(Refused) as refused:
            connect_by_port(nat.address.port, "127.0.0.1", 0, front_end=front_end).close()
        assert refused.value.code == _REFUSED_CODES[front_end]
        assert "port 0" in nat.wait_for("handshake-failed").fields["reason"]


@pytest.mark.parametrize(
    ("front_end", "host"),
    [("socks4", "127.0.0.1"), ("socks4", "0.0.0.0")]
    + [
        (front_end, host)
        for front_end in ("socks5", "http-connect")
        for host in ("127.0.0.1", "0.0.0.0", "localhost", "::ffff:127.0.0.1")
    ],
)
def test_the_relay_does_not_connect_to_itself(front_end: str, host: str, backend: str) -> None:
    with serving(backend) as nat:
        own = nat.address.port
        with pytest.raises(Refused) as refused:
            connect_by_port(own, host, own, front_end=front_end).close()
        assert refused.value.code == _DENIED_CODES[front_end]
        failed = nat.wait_for("dial-failed").fields
        assert failed["failure"] == "denied"
        assert "is this relay itself" in failed["detail"]


def receive_from(port: int) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=60) as sock:
        return sock.recv(1)


@pytest.mark.parametrize("option", ["forwards", "inbound"])
@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "localhost", "[::ffff:127.0.0.1]"])
def test_a_forward_to_itself_resets_its_caller(host: str, option: str, backend: str) -> None:
    port = free_port()
    with serve_in_thread(backend=backend, **{option: [f"{port}:{host}:{port}"]}) as nat:  # type: ignore[arg-type]
        with pytest.raises(ConnectionResetError):
            receive_from(port)
        assert nat.wait_for("dial-failed").fields["failure"] == "denied"
        nat.wait_for("flow-ended")
        assert len([record for record in nat.events if record.event == "flow-opened"]) == 1


def test_a_relay_that_listens_everywhere_knows_all_its_addresses(backend: str) -> None:
    with serve_in_thread(backend=backend, listen="0.0.0.0:0", allow_open=True) as nat:
        own = nat.address.port
        for host in ("127.0.0.1", "0.0.0.0", "localhost"):
            with pytest.raises(Refused) as refused:
                connect_by_port(own, host, own).close()
            assert refused.value.code == _DENIED_CODES["socks5"]


@pytest.mark.parametrize("later", [False, True], ids=["with the head", "later"])
def test_a_body_that_cannot_be_read_is_answered_whenever_it_comes(later: bool, backend: str) -> None:
    def hear_out(connection: socket.socket) -> None:
        read_to_end(connection)

    with Origin(hear_out) as origin, serve_in_thread(backend=backend) as nat, client(nat) as sock:
        head = f"POST http://{origin.target}/ HTTP/1.1\r\nHost: {origin.target}\r\nTransfer-Encoding: chunked\r\n\r\n"
        sock.sendall(head.encode() + (b"" if later else b"zz\r\n"))
        if later:
            nat.wait_for("flow-connected")
            sock.sendall(b"zz\r\n")
        assert read_to_end(sock).startswith(b"HTTP/1.1 400 ")
        nat.wait_for("flow-ended", because="protocol-error")
        assert [record.event for record in nat.events].count("fault") == 1


def cpu_s(pid: int) -> float:
    """How long a process has computed, so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.system
def test_when_descriptors_run_out_callers_wait_and_are_served_once_there_are_some(backend: str, tmp_path: Path) -> None:
    with Origin(echo) as origin, serve(tmp_path, "--backend", backend, prefix=with_few_descriptors(64)) as served:
        with crowd(served.port, 64):
            paused = served.wait_for("accept-paused")
            assert "too many open files" in paused["reason"]
            assert "ulimit -n" in paused["reason"]
            with socket.create_connection(("127.0.0.1", served.port), timeout=60) as waiting:
                waiting.sendall(b"\x05\x01\x00" + socks5_request("127.0.0.1", origin.port))
                waiting.settimeout(0.5)
                for _ in range(4):  # a relay that goes round in circles is busy in each; in the first it may still log
                    before_s = cpu_s(served.process.pid)
                    with pytest.raises(TimeoutError):
                        waiting.recv(1)
                    busy_s = cpu_s(served.process.pid) - before_s
                    if busy_s < 0.1:
                        break
                assert busy_s < 0.1, "it goes round in circles"
                assert [event["event"] for event in served.events()].count("accept-paused") == 1
        served.wait_for("accept-resumed")
        with connect_by_port(served.port, "127.0.0.1", origin.port) as sock:
            sock.sendall(b"alive")
            assert read_exactly(sock, 5) == b"alive"


def wait_until_full(pid: int, limit: int) -> None:
    """Until a process has had no descriptor free for a while: looking for a flow's process borrows some."""
    deadline_s, full_since_s = time.monotonic() + 60, time.monotonic()
    while time.monotonic() - full_since_s < 0.5:
        if len(os.listdir(f"/proc/{pid}/fd")) < limit:
            full_since_s = time.monotonic()
        assert time.monotonic() < deadline_s, f"process {pid} has descriptors left"
        time.sleep(0.01)


@pytest.mark.system
def test_a_dial_for_which_there_is_no_descriptor_is_refused(backend: str, tmp_path: Path) -> None:
    with Origin(echo) as origin, serve(tmp_path, "--backend", backend, prefix=with_few_descriptors(64)) as served:
        with crowd(served.port, 64) as clients:
            served.wait_for("accept-paused")
            wait_until_full(served.process.pid, 64)
            clients[0].sendall(b"\x05\x01\x00" + socks5_request("127.0.0.1", origin.port))
            assert read_exactly(clients[0], 2) == b"\x05\x00"
            assert read_exactly(clients[0], 2) == b"\x05\x01"
            failed = served.wait_for("dial-failed")
            assert (failed["failure"], "EMFILE" in failed["detail"]) == ("out of resources", True)
        served.wait_for("accept-resumed")
        with connect_by_port(served.port, "127.0.0.1", origin.port) as sock:
            sock.sendall(b"alive")
            assert read_exactly(sock, 5) == b"alive"
