"""`--max-flows`: beyond it a caller is refused in its own protocol, and the flows that are open notice nothing."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from relay.testing import RunningRelay, serve_in_thread
from support.clients import PASSWORD, USER, Refused, connect
from support.masses import Steady, mass_clients, mass_origin, wait_until
from support.origins import Origin, echo, read_exactly, read_to_end
from support.programs import serve

_MAX = 3
_REFUSED_CODES = {"socks4": 0x5B, "socks5": 0x01, "http-connect": 503}
_REASON = "3 flows are open, as many as --max-flows allows"


def exchange(sock: socket.socket) -> None:
    sock.sendall(b"x")
    assert read_exactly(sock, 1) == b"x"


@contextmanager
def full_relay(backend: str, origin: Origin) -> Iterator[RunningRelay]:
    """A relay with as many flows as it may have; they carry before and after, and when they end it serves again."""
    with serve_in_thread(backend=backend, max_flows=_MAX) as nat:
        with ExitStack() as stack:
            open_flows = [stack.enter_context(connect(nat, "socks5", origin.host, origin.port)) for _ in range(_MAX)]
            yield nat
            assert nat.flow_count == _MAX
            for sock in open_flows:
                exchange(sock)
        wait_until(lambda: nat.flow_count == 0, lambda: "flows do not end")
        with connect(nat, "socks5", origin.host, origin.port) as sock:
            exchange(sock)
        assert origin.accepted == _MAX + 1


def check_told_once(nat: RunningRelay) -> None:
    nat.wait_for("flow-refused")
    told = [record for record in nat.events if record.event == "flow-refused"]
    assert [(record.flow, record.fields["reason"]) for record in told] == [(None, _REASON)]
    assert str(told[0].fields["client"]).startswith("127.0.0.1:")


@pytest.mark.parametrize("front_end", _REFUSED_CODES)
def test_one_flow_too_many_is_refused_in_its_protocols_words(front_end: str, backend: str) -> None:
    with Origin(echo) as origin, full_relay(backend, origin) as nat:
        with pytest.raises(Refused) as refused:
            connect(nat, front_end, origin.host, origin.port).close()
        assert refused.value.code == _REFUSED_CODES[front_end]
        if front_end == "http-connect":
            assert _REASON in refused.value.text
        check_told_once(nat)


def test_a_plain_http_request_too_many_has_a_response_that_says_so(backend: str) -> None:
    with Origin(echo) as origin, full_relay(backend, origin) as nat:
        with socket.create_connection(nat.address, timeout=60) as sock:
            sock.sendall(b"GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n")
            response = read_to_end(sock).decode()
        assert response.startswith("HTTP/1.1 503 ")
        assert _REASON in response
        check_told_once(nat)


def test_one_too_many_through_a_forward_is_reset(backend: str) -> None:
    with Origin(echo) as origin, full_relay(backend, origin) as nat:
        forwarded = nat.forward(origin.host, origin.port)
        with pytest.raises(ConnectionResetError), socket.create_connection(forwarded, timeout=60) as sock:
            sock.recv(1)  # if it was not reset before connect has returned
        check_told_once(nat)


def test_who_may_not_use_the_proxy_learns_that_first(backend: str) -> None:
    with (
        serve_in_thread(backend=backend, max_flows=1, auth=f"{USER}:{PASSWORD}") as nat,
        socket.create_connection(nat.address),
        socket.create_connection(nat.address, timeout=60) as stranger,
    ):
        nat.wait_for("flow-refused")
        stranger.sendall(b"\x05\x01\x00")
        assert read_to_end(stranger) == b"\x05\xff"


def test_silent_clients_count_and_what_they_make_it_hold_is_bounded(backend: str, tmp_path: Path) -> None:
    limit, heard, callers = 100, 64, 300
    options = ("--max-flows", str(limit), "--handshake-timeout", "1", "--quiet")
    with (
        mass_origin() as (_, port),
        serve(tmp_path, "--backend", backend, *options) as served,
        mass_clients(served.port, port) as clients,
    ):
        refused = 0

        def be_too_many() -> None:
            nonlocal refused
            assert clients.do(f"call {callers}") == {"called": callers}
            assert clients.do("ended") == {"fin": limit + heard, "rst": callers - limit - heard}
            refused += callers - limit
            served.wait_for_count("flow-refused", refused)
            assert served.count("flow-refused") == refused

        Steady(served, port).check(be_too_many)


def test_two_hundred_flows_at_the_limit_outlast_a_storm_of_others(backend: str, tmp_path: Path) -> None:
    limit, surplus = 200, 1000
    with (
        mass_origin() as (_, port),
        serve(tmp_path, "--backend", backend, "--max-flows", str(limit), "--quiet") as served,
        mass_clients(served.port, port) as clients,
        mass_clients(served.port, port) as others,
    ):

        def storm() -> None:
            refused = served.count("flow-refused")
            assert clients.do(f"open {limit}") == {"granted": limit}
            assert clients.do("load") == {"echoed": limit}
            told = others.do(f"open {surplus}")
            assert set(told) <= {"refused-1", "rst"}
            assert told["refused-1"] >= 64
            others.do("reset")
            served.wait_for_count("flow-refused", refused + surplus)
            assert served.count("flow-refused") == refused + surplus
            assert clients.do("end") == {"whole": limit}

        Steady(served, port).check(storm)
