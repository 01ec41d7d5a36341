"""Clients that take their time: they open and never speak, send a byte now and then, or never read."""

from __future__ import annotations

import socket
import time
from contextlib import suppress
from pathlib import Path

import pytest

from support.clients import socks5_request
from support.masses import (
    Steady,
    check_serving,
    descriptor_count,
    mass_clients,
    mass_origin,
    resident_bytes,
    settled,
    wait_until,
)
from support.measuring import with_limit, within
from support.origins import Origin, read_exactly, read_to_end
from support.programs import ServedRelay, serve
from support.web import web

_SILENT = 2000
_PACE_S = 0.1
_HOARDERS = 8  # the kernel's buffers take some 25 MiB of each before a sender has to stop
_OTHERS = 4
_UNSENT_BYTES = 256 * 1024  # one buffer of a pump's may wait in the relay, each way
_ANY_LOAD_BYTES = 8 << 20  # by which it grows however it is used: code that is imported, threads' heaps


def test_two_thousand_silent_clients_are_borne_and_then_dropped(backend: str, tmp_path: Path) -> None:
    def play(limit_s: float) -> None:
        folder = tmp_path / f"{limit_s:g} s"
        folder.mkdir()
        with (
            mass_origin() as (_, port),
            serve(folder, "--backend", backend, "--handshake-timeout", f"{limit_s}", "--quiet") as served,
            mass_clients(served.port, port) as clients,
        ):
            dropped = 0

            def be_silent() -> None:
                nonlocal dropped
                with within(0.9 * limit_s):
                    assert clients.do(f"call {_SILENT}") == {"called": _SILENT}
                    wait_until(
                        lambda: descriptor_count(served.process.pid) > _SILENT,
                        lambda: "not all were accepted",
                        timeout_s=limit_s,
                    )
                    check_serving(served.port, port)
                    assert served.count("handshake-failed") == dropped
                assert clients.do("ended") == {"fin": _SILENT}
                dropped += _SILENT
                served.wait_for_count("handshake-failed", dropped)
                assert served.count("handshake-failed", reason=f"no request within {limit_s:g} s") == dropped

            Steady(served, port).check(be_silent)

    with_limit(play, 2.5)


def read_until(sock: socket.socket, end: bytes) -> bytes:
    data = b""
    while not data.endswith(end):
        data += read_exactly(sock, 1)
    return data


def trickle(sock: socket.socket, data: bytes) -> None:
    for byte in data:
        sock.sendall(bytes([byte]))
        time.sleep(_PACE_S)  # the pace is the point


def ended_flows(served: ServedRelay) -> set[int]:
    return {record["flow"] for record in served.events() if record["event"] == "flow-ended"}


def test_bytes_that_trickle_in_do_not_prolong_the_time_for_a_request(backend: str, tmp_path: Path) -> None:
    with mass_origin() as (_, port), serve(tmp_path, "--backend", backend, "--handshake-timeout", "1") as served:

        def dawdle() -> None:
            began_s = time.monotonic()
            with socket.create_connection(("127.0.0.1", served.port), timeout=60) as sock:
                with suppress(ConnectionError):
                    trickle(sock, b"\x05\x01\x00" + socks5_request("127.0.0.1", port))
                with suppress(ConnectionError):
                    assert read_to_end(sock) in {b"\x05\x00", b""}
            assert 0.9 < time.monotonic() - began_s < 20
            opened = {record["flow"] for record in served.events() if record["event"] == "flow-opened"}
            wait_until(lambda: opened <= ended_flows(served), lambda: f"not all have ended of {opened}")

        Steady(served, port).check(dawdle)
        assert served.wait_for("handshake-failed")["reason"] == "no request within 1 s"


def test_the_head_of_a_later_request_may_not_trickle_either(backend: str, tmp_path: Path) -> None:
    limit_s = 1.0
    with Origin(web()) as origin, serve(tmp_path, "--backend", backend, "--handshake-timeout", str(limit_s)) as served:
        head = f"GET http://{origin.target}/ HTTP/1.1\r\nHost: x\r\n".encode()
        with socket.create_connection(("127.0.0.1", served.port), timeout=60) as sock:
            for first, rest in ((head, b"\r\n"), (b"\r\n", head + b"\r\n")):
                sock.sendall(first)
                time.sleep(_PACE_S)  # so that it is read by itself
                sock.sendall(rest)
                assert read_until(sock, b"GET /").startswith(b"HTTP/1.1 200 ")
                time.sleep(1.2 * limit_s)  # between two requests there is no limit
            sock.settimeout(_PACE_S)
            began_s = time.monotonic()
            assert end_of_trickling(sock, head[:20] + b"x" * 100) == b""
            assert 0.8 * limit_s < time.monotonic() - began_s < 20
        assert served.wait_for("handshake-failed")["reason"] == f"no request within {limit_s:g} s"
        ended = served.wait_for("flow-ended")
        assert (ended["because"], ended["destination"]) == ("handshake-limit", origin.target)
        assert origin.accepted == served.count("flow-ended") == 1


def end_of_trickling(sock: socket.socket, data: bytes) -> bytes | None:
    """What is received while these bytes are sent, one in the time that the socket waits; None if that is nothing."""
    for byte in data:
        sock.sendall(bytes((byte,)))
        with suppress(TimeoutError):
            return sock.recv(1)
    return None


def test_bytes_that_trickle_are_carried_as_they_come_and_keep_the_flow(backend: str, tmp_path: Path) -> None:
    options = ("--handshake-timeout", "5", "--idle-timeout", "0.5")
    with mass_origin() as (_, port), serve(tmp_path, "--backend", backend, *options) as served:

        def take_time() -> None:
            with socket.create_connection(("127.0.0.1", served.port), timeout=60) as sock:
                trickle(sock, b"\x05\x01\x00" + socks5_request("127.0.0.1", port))
                assert read_exactly(sock, 12)[3] == 0
                for _ in range(10):
                    trickle(sock, b"x")
                    assert read_exactly(sock, 1) == b"x"

        Steady(served, port).check(take_time)
        ended = [record["because"] for record in served.events() if record["event"] == "flow-ended"]
        assert set(ended) == {"internal-peer"}


@pytest.mark.parametrize("end", ["idle-timeout", "internal-peer"])
def test_clients_that_never_read_cost_a_bounded_amount_and_no_other_flow(
    end: str, backend: str, tmp_path: Path
) -> None:
    options = ("--idle-timeout", "1.5") if end == "idle-timeout" else ()
    with (
        mass_origin() as (_, port),
        serve(tmp_path, "--backend", backend, "--quiet", *options) as served,
        mass_clients(served.port, port) as hoarders,
        mass_clients(served.port, port) as others,
    ):
        pid = served.process.pid
        began_bytes = resident_bytes(pid)

        def hoard() -> None:
            ended = settled(lambda: served.count("flow-ended", because=end))
            assert others.do(f"open {_OTHERS}") == {"granted": _OTHERS}
            assert others.do("load") == {"echoed": _OTHERS}
            assert hoarders.do(f"open {_HOARDERS}") == {"granted": _HOARDERS}
            assert hoarders.do("hoard")["bytes"] > 10 * _UNSENT_BYTES * _HOARDERS
            assert resident_bytes(pid) - began_bytes < 2 * _UNSENT_BYTES * (_HOARDERS + _OTHERS) + _ANY_LOAD_BYTES
            assert hoarders.do("reset" if end == "internal-peer" else "ended") == {"rst": _HOARDERS}
            wait_until(
                lambda: served.count("flow-ended", because=end) == ended + _HOARDERS, lambda: "not all flows ended"
            )
            assert others.do("end") == {"whole": _OTHERS}

        Steady(served, port).check(hoard)
