"""`relay serve`: the ports it opens, what it says where, and what tells it so."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from relay.fidelity import assess
from relay.observe import Fidelity, survey
from relay.profiles import load_profile
from support.capabilities import missing
from support.clients import connect_by_port
from support.namespaces import in_own_network
from support.origins import Origin, echo, read_exactly, read_to_end
from support.programs import RELAY, clean_environment, serve


def exchange(sock: socket.socket) -> None:
    sock.sendall(b"over and back")
    assert read_exactly(sock, 13) == b"over and back"


def test_the_ports_that_were_picked_are_written_in_order_when_they_can_be_connected_to(
    backend: str, tmp_path: Path
) -> None:
    with Origin(echo) as first, Origin(echo) as second, Origin(echo) as guest:
        arguments = (
            "--forward",
            f"0:{first.target}",
            "--forward",
            f"0:{second.target}",
            "--inbound",
            f"0:{guest.target}",
        )
        with serve(tmp_path, "--backend", backend, *arguments) as served:
            proxy, *forwards, inbound = served.ports
            assert len({*served.ports}) == 4
            started = served.wait_for("relay-started")
            assert started["listen"] == f"127.0.0.1:{proxy}"
            assert started["forwards"] == [
                f"127.0.0.1:{port} -> {origin.target}" for port, origin in zip(forwards, (first, second), strict=True)
            ]
            assert started["inbound"] == [f"127.0.0.1:{inbound} -> {guest.target}"]
            with connect_by_port(proxy, "127.0.0.1", first.port) as sock:
                exchange(sock)
            for port in (*forwards, inbound):
                with socket.create_connection(("127.0.0.1", port), timeout=60) as sock:
                    exchange(sock)
        events = [event for event in served.events() if event["event"] == "flow-opened"]
        assert {event["flow"]: (event["via"], event["destination"]) for event in events} == {
            1: ("socks5", first.target),
            2: ("forward", first.target),
            3: ("forward", second.target),
            4: ("inbound", guest.target),
        }


def test_without_options_it_is_a_fusion_proxy_on_port_1080() -> None:
    def read_banner() -> None:
        with subprocess.Popen(
            [*RELAY, "serve"], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=clean_environment()
        ) as process:
            try:
                assert process.stderr is not None
                assert process.stderr.readline().startswith("profile vmware-fusion-11: ")
                assert process.stderr.readline().startswith("proxy   127.0.0.1:1080 ")
                assert process.stderr.readline().split() == ["export", "ALL_PROXY=socks5h://127.0.0.1:1080"]
            finally:
                process.terminate()
                assert process.communicate(timeout=60)[0] == ""

    in_own_network(read_banner)  # in this one the port may be taken


def test_the_banner_says_how_to_use_the_ports(backend: str, tmp_path: Path) -> None:
    arguments = ("--forward", "0:127.0.0.1:9", "--inbound", "0:127.0.0.1:7", "--auth", "me:my-secret")
    with serve(tmp_path, "--backend", backend, *arguments) as served:
        banner = served.wait_for_stderr("link-down-reset")
        proxy, forward, inbound = served.ports
        assert f"proxy   127.0.0.1:{proxy} " in banner
        assert f"export ALL_PROXY=socks5h://USER:PASS@127.0.0.1:{proxy}\n" in banner
        assert f"forward 127.0.0.1:{forward} -> 127.0.0.1:9\n" in banner
        assert f"inbound 127.0.0.1:{inbound} -> 127.0.0.1:7\n" in banner
    assert "my-secret" not in served.stderr() + served.events_file.read_text()


@pytest.mark.parametrize(("listen", "dialled"), [("0.0.0.0:0", "127.0.0.1"), ("[::]:0", "[::1]")])
def test_the_banner_offers_an_address_that_can_be_dialled(
    listen: str, dialled: str, backend: str, tmp_path: Path
) -> None:
    with serve(tmp_path, "--backend", backend, "--listen", listen, "--allow-open") as served:
        banner = served.wait_for_stderr("link-down-reset")
        assert f"proxy   {listen.removesuffix(':0')}:{served.port} " in banner
        assert f"export ALL_PROXY=socks5h://{dialled}:{served.port}\n" in banner


@pytest.mark.parametrize("observer", [None, "none"])
def test_the_banner_says_of_each_quirk_how_well_this_host_shows_it(
    observer: str | None, backend: str, tmp_path: Path
) -> None:
    assessed = assess(load_profile("vmware-fusion"), survey(observer))
    forced = ("--observer", observer) if observer is not None else ()
    with serve(tmp_path, "--backend", backend, *forced) as served:
        banner = served.wait_for_stderr(assessed[-1].quirk.name)
        for each in assessed:
            line = next(line for line in banner.splitlines() if each.quirk.name in line)
            assert line.split()[0] == each.support.fidelity.value
            if each.support.fidelity is not Fidelity.EXACT:
                assert each.support.how in line
                assert each.support.remedy in line
        started = served.wait_for("relay-started")
        assert started["fidelity"] == {each.quirk.name: each.support.fidelity.value for each in assessed}
    if observer == "none":
        assert started["fidelity"]["tos-reset"] == "impossible"


def test_settings_from_the_environment_do_what_the_options_do(backend: str, tmp_path: Path) -> None:
    source = "127.0.0.2" if sys.platform == "linux" else "127.0.0.1"
    seen: list[str] = []

    def note_peer(connection: socket.socket) -> None:
        seen.append(connection.getpeername()[0])

    with (
        Origin(note_peer) as origin,
        serve(
            tmp_path,
            RELAY_BACKEND=backend,
            RELAY_PROFILE="transparent",
            RELAY_SET="tos-reset.mask=0xfc tos-reset.external_close_delay_ms=7",
            RELAY_FORWARD=f"0:{origin.target} 0:127.0.0.1:9",
            RELAY_INBOUND="0:127.0.0.1:7",
            RELAY_OBSERVER="none",
            RELAY_RESOLVE=f"guest.test:{origin.port}:127.0.0.1",
            RELAY_SOURCE=source,
            RELAY_HANDSHAKE_TIMEOUT="0.25",
            RELAY_MAX_FLOWS="1",
            RELAY_DRAIN_TIMEOUT="7",
            RELAY_QUIET="1",
        ) as served,
    ):
        assert len(served.ports) == 4
        with connect_by_port(served.port, "guest.test", origin.port) as sock:
            assert read_to_end(sock) == b""
        assert seen == [source]
        served.wait_for("flow-ended")
        with socket.create_connection(("127.0.0.1", served.port), timeout=60) as silent:
            with socket.create_connection(("127.0.0.1", served.port), timeout=60):
                served.wait_for("flow-refused")
            assert read_to_end(silent) == b""
        assert served.wait_for("handshake-failed")["reason"] == "no request within 0.25 s"
        served.process.send_signal(signal.SIGTERM)
        assert served.process.wait(20) == 0
        assert served.wait_for("relay-draining")["at_most_s"] == 7
    started = served.wait_for("relay-started")
    assert started["profile"] == "transparent"
    assert started["fidelity"]["tos-reset"] == "impossible"
    assert "asks for" not in served.stderr()


def test_events_on_stdout_are_json_lines_and_nothing_else_is_there(backend: str, tmp_path: Path) -> None:
    stdout_file = tmp_path / "stdout"
    with (
        stdout_file.open("w") as stdout,
        Origin(echo) as origin,
        serve(tmp_path, "--backend", backend, "--events", "-", stdout=stdout) as served,
        connect_by_port(served.port, "127.0.0.1", origin.port) as sock,
    ):
        exchange(sock)
    records = [json.loads(line) for line in stdout_file.read_text().splitlines()]
    names = [record["event"] for record in records]
    assert (names[0], names[-1]) == ("relay-started", "relay-stopped")
    assert "flow-ended" in names
    assert "export ALL_PROXY" in served.stderr()
    assert "ended by internal-peer" in served.stderr()


@pytest.mark.parametrize("quiet", [False, True])
def test_talk_goes_to_stderr_and_none_with_quiet(quiet: bool, backend: str, tmp_path: Path) -> None:
    stdout_file = tmp_path / "stdout"
    arguments = ("--quiet",) if quiet else ()
    with (
        stdout_file.open("w") as stdout,
        Origin(echo) as origin,
        serve(tmp_path, "--backend", backend, *arguments, stdout=stdout) as served,
    ):
        with connect_by_port(served.port, "127.0.0.1", origin.port) as sock:
            exchange(sock)
        served.wait_for("flow-ended")
    assert stdout_file.read_text() == ""
    assert ("asks for" in served.stderr(), "export ALL_PROXY" in served.stderr()) == (not quiet, True)


def test_sigusr1_takes_the_link_down_and_the_relay_serves_on(backend: str, tmp_path: Path) -> None:
    with Origin(echo) as origin, serve(tmp_path, "--backend", backend) as served:
        with connect_by_port(served.port, "127.0.0.1", origin.port) as sock:
            exchange(sock)
            served.process.send_signal(signal.SIGUSR1)
            with pytest.raises(ConnectionResetError):
                sock.recv(1)
        assert served.wait_for("flow-ended")["because"] == "link-down-reset"
        assert served.wait_for("link-down")["flow"] is None
        with connect_by_port(served.port, "127.0.0.1", origin.port) as sock:
            exchange(sock)


def test_a_signal_that_comes_as_soon_as_the_ports_are_written_is_heard(backend: str, tmp_path: Path) -> None:
    with serve(tmp_path, "--backend", backend) as served:
        served.process.send_signal(signal.SIGTERM)
        assert served.process.wait(20) == 0


def test_a_full_disk_under_the_event_log_ends_no_flow(backend: str, tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        missing("needs /dev/full")
    with (
        Origin(echo) as origin,
        serve(tmp_path, "--backend", backend, "--events", "/dev/full") as served,
        connect_by_port(served.port, "127.0.0.1", origin.port) as sock,
    ):
        exchange(sock)
        served.wait_for_stderr("connected to")
        exchange(sock)
    assert "bug" not in served.stderr()


def test_a_reader_that_stops_reading_the_events_ends_no_flow(backend: str, tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with (
        os.fdopen(writer, "w") as stdout,
        Origin(echo) as origin,
        serve(tmp_path, "--backend", backend, "--events", "-", stdout=stdout) as served,
    ):
        with connect_by_port(served.port, "127.0.0.1", origin.port) as sock:
            exchange(sock)
        served.wait_for_stderr("ended by")
    assert "Exception ignored" not in served.stderr()
