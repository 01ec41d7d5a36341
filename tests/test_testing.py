"""`relay.testing`: a relay for code without an event loop tells what happened, fails plainly, and leaves no trace."""

from __future__ import annotations

import gc
import os
import socket
import threading
import time
from pathlib import Path

import pytest

from relay.errors import ConfigError, Unsupported
from relay.testing import serve_in_thread
from support.capabilities import missing
from support.clients import connect_by_port, crowd
from support.origins import Origin, black_hole, echo, read_exactly, refusing_port
from support.ports import free_port


def exchange(sock: socket.socket) -> None:
    sock.sendall(b"x")
    assert read_exactly(sock, 1) == b"x"


def test_it_serves_for_as_long_as_the_block_lasts(backend: str) -> None:
    with Origin(echo) as origin:
        with serve_in_thread(backend=backend) as nat:
            port = nat.address.port
            with connect_by_port(port, "127.0.0.1", origin.port) as sock:
                exchange(sock)
        with pytest.raises(ConnectionRefusedError):
            connect_by_port(port, "127.0.0.1", origin.port)


def test_a_flow_that_is_open_at_the_end_of_the_block_is_reset(backend: str) -> None:
    with Origin(echo) as origin:
        with serve_in_thread(backend=backend) as nat:
            sock = connect_by_port(nat.address.port, "127.0.0.1", origin.port)
            exchange(sock)
            assert nat.flow_count == 1
        with sock, pytest.raises(ConnectionResetError):
            sock.recv(1)
        assert nat.wait_for("flow-ended").fields["because"] == "shutdown"
        assert nat.events[-1].event == "relay-stopped"
        assert nat.events[-1].fields["flows_ended"] == 1


def test_the_last_word_is_the_relays_also_while_flows_wait_for_their_process_name(backend: str) -> None:
    with Origin(echo) as origin:
        with (
            serve_in_thread(backend=backend, forwards=[f"0:{origin.target}"]) as nat,
            crowd(nat.forward_addresses[0].port, 20),
        ):
            pass
        assert [record.event for record in nat.events].count("relay-stopped") == 1
        assert nat.events[-1].event == "relay-stopped"


def test_waiting_in_vain_tells_what_did_happen(backend: str) -> None:
    with refusing_port() as port, serve_in_thread(backend=backend) as nat:
        with pytest.raises(Exception):  # noqa: B017, PT011 - how the proxy refuses is tested elsewhere
            connect_by_port(nat.address.port, "127.0.0.1", port).close()
        nat.wait_for("flow-ended")
        with pytest.raises(AssertionError) as failed:
            nat.wait_for("flow-ended", timeout_s=0.1, because="tos-reset")
    said = str(failed.value)
    assert said.startswith("no flow-ended (because='tos-reset') within 0.1 s; what happened:\n")
    for happened in ("relay started", f"asks for 127.0.0.1:{port} via socks5", "not connected: refused", "ended by"):
        assert happened in said


def test_waiting_does_not_miss_what_happens_meanwhile_or_has_happened(backend: str) -> None:
    with serve_in_thread(backend=backend) as nat:
        timer = threading.Timer(0.2, nat.link_down)
        timer.start()
        came = nat.wait_for("link-down", timeout_s=60)
        timer.join()
        assert came.at_s >= 0.2
        assert nat.wait_for("link-down", timeout_s=0) is came


@pytest.mark.parametrize(
    ("profile", "options", "error", "names"),
    [
        ("vmware-fusoin", {}, ConfigError, "profile: unknown profile 'vmware-fusoin'"),
        ("vmware-fusion", {"tos_reset": {"mask": 0}}, ConfigError, "tos_reset={'mask': 0}: 0 is not"),
        ("vmware-fusion", {"listen": "0.0.0.0:0"}, ConfigError, "listen: listening on 0.0.0.0:0"),
        (
            *("vmware-fusion", {"listen": "192.0.2.1:1", "allow_open": True}, ConfigError),
            "listen: cannot listen on 192.0.2.1:1",
        ),
        (
            *("vmware-fusion", {"forwards": ["192.0.2.1:1:127.0.0.1:1"], "allow_open": True}, ConfigError),
            "forwards: cannot listen on 192.0.2.1:1",
        ),
        ("vmware-fusion", {"observer": "pcap"}, ConfigError, "observer: there is no observer 'pcap'"),
        ("vmware-fusion", {"max_flows": 0}, ConfigError, "max_flows: 0 is out of range"),
        ("vmware-fusion", {"idle_timeout_s": 0}, ConfigError, "idle_timeout_s: 0 is out of range"),
        ("vmware-fusion", {"resolve": ["a"]}, ConfigError, "resolve: cannot read 'a'"),
        (
            "vmware-fusion",
            {"observer": "none", "strict": True, "local_keepalive": {"enabled": False}},
            Unsupported,
            "strict: this host cannot show tos-reset",
        ),
    ],
    ids=str,
)
def test_a_wrong_option_is_an_error_of_ours_and_bare(
    profile: str, options: dict[str, object], error: type[Exception], names: str, backend: str
) -> None:
    with pytest.raises(error) as failed, serve_in_thread(profile, backend=backend, **options):  # type: ignore[arg-type]
        pytest.fail("it serves")
    assert type(failed.value) is error
    assert str(failed.value).startswith(names)


def test_a_port_that_is_taken_is_an_error_of_ours_and_leaves_the_others_free(backend: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        taken, free = holder.getsockname()[1], free_port()
        forwards = [f"{free}:127.0.0.1:9", f"{taken}:127.0.0.1:9"]
        with pytest.raises(ConfigError) as failed, serve_in_thread(backend=backend, forwards=forwards):
            pytest.fail("it serves")
        assert f"cannot listen on 127.0.0.1:{taken}" in str(failed.value)
        with socket.create_server(("127.0.0.1", free)):
            pass


class Mine(Exception):
    """What a test's own code may raise."""


def raise_within(backend: str, error: BaseException) -> None:
    with (
        Origin(echo) as origin,
        serve_in_thread(backend=backend) as nat,
        connect_by_port(nat.address.port, "127.0.0.1", origin.port) as sock,
    ):
        exchange(sock)
        raise error


@pytest.mark.parametrize("kind", [Mine, AssertionError, ExceptionGroup, KeyboardInterrupt, SystemExit])
def test_what_the_block_raises_comes_out_as_it_is(kind: type[BaseException], backend: str) -> None:
    error = kind("several", [Mine()]) if kind is ExceptionGroup else kind("one")
    with pytest.raises(kind) as raised:
        raise_within(backend, error)
    assert raised.value is error


def threads() -> set[str]:
    """The names of this process's threads, without trio's spare ones: they end when they are not used for 10 s."""
    return {thread.name for thread in threading.enumerate() if not thread.name.startswith("Trio thread")}


def descriptors() -> dict[str, str]:
    """What this process has open, by number."""
    folder = Path("/proc/self/fd")
    if not folder.exists():
        missing("needs /proc/self/fd")
    found = {}
    for number in os.listdir(folder):
        try:
            found[number] = os.readlink(folder / number)
        except FileNotFoundError:
            continue  # the one that listed them
    return found


def left_behind(before: tuple[set[str], dict[str, str]]) -> str:
    """What there is now and was not before; a thread that has ended meanwhile is none of that."""
    now = threads(), descriptors()
    more = (now[0] - before[0], now[1].items() ^ before[1].items())
    return str(more) if any(more) else ""


@pytest.mark.parametrize("profile", ["vmware-fusion", "transparent"])
def test_neither_thread_nor_descriptor_is_left_behind(profile: str, backend: str) -> None:
    def leave_everything_open() -> None:
        with (
            Origin(echo) as origin,
            black_hole() as nowhere,
            serve_in_thread(profile, backend=backend, forwards=[f"0:{origin.target}"]) as nat,
        ):
            port = nat.address.port
            with connect_by_port(port, "127.0.0.1", origin.port) as done:
                exchange(done)
            nat.wait_for("flow-ended")
            half_closed = connect_by_port(port, "127.0.0.1", origin.port, front_end="http-connect")
            dialling = socket.create_connection(("127.0.0.1", port))
            with half_closed, dialling, crowd(port, 5), crowd(nat.forward_addresses[0].port, 5):
                half_closed.shutdown(socket.SHUT_WR)
                dialling.sendall(f"CONNECT 127.0.0.1:{nowhere} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
                nat.wait_for("flow-opened", destination=f"127.0.0.1:{nowhere}")
                nat.wait_for("flow-opened", via="forward")

    leave_everything_open()  # the first time opens what stays for the life of the process: caches, self-tests
    gc.collect()
    before = threads(), descriptors()
    leave_everything_open()
    gc.collect()
    until_s = time.monotonic() + 60
    while left_behind(before) and time.monotonic() < until_s:
        time.sleep(0.02)  # a thread that was abandoned has something to finish
    assert not left_behind(before)


def test_nothing_is_left_behind_of_a_block_that_raises_or_a_relay_that_does_not_start(backend: str) -> None:
    def fail_twice() -> None:
        with pytest.raises(Mine):
            raise_within(backend, Mine())
        with pytest.raises(ConfigError), serve_in_thread(backend=backend, forwards=["1:192.0.2.1:1", "x"]):
            pytest.fail("it serves")
        with socket.create_server(("127.0.0.1", 0)) as holder:
            taken = f"{holder.getsockname()[1]}:127.0.0.1:9"
            with pytest.raises(ConfigError), serve_in_thread(backend=backend, forwards=["0:127.0.0.1:9", taken]):
                pytest.fail("it serves")

    fail_twice()
    gc.collect()
    before = threads(), descriptors()
    fail_twice()
    gc.collect()
    assert (threads(), descriptors()) == before


def test_several_relays_serve_side_by_side(backend: str) -> None:
    with Origin(echo) as origin, serve_in_thread(backend=backend) as outer:
        with serve_in_thread("transparent", backend="trio" if backend == "asyncio" else "asyncio") as inner:
            for nat in (outer, inner):
                with connect_by_port(nat.address.port, "127.0.0.1", origin.port) as sock:
                    exchange(sock)
            # One through the other: each sees its own half.
            with connect_by_port(outer.address.port, "127.0.0.1", inner.address.port) as sock:
                sock.sendall(b"\x05\x01\x00\x05\x01\x00\x01\x7f\x00\x00\x01" + origin.port.to_bytes(2, "big"))
                assert read_exactly(sock, 2 + 10)[:4] == b"\x05\x00\x05\x00"
                exchange(sock)
        assert [record.fields["destination"] for record in inner.events if record.event == "flow-opened"] == [
            origin.target,
            origin.target,
        ]
