"""`relay serve --pcap`: a capture of both sides, made of the event log, that Wireshark opens."""

from __future__ import annotations

import os
import pty
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

from support.drawn import arrows, ladders_of
from support.forks import relay_in_fork
from support.origins import Origin, echo, read_exactly
from support.programs import RELAY, clean_environment, serve
from support.tshark import read_fields


@pytest.mark.parametrize("workers", ["1", "2"])
def test_it_shows_a_reset_by_the_nat_and_whose_connection_it_was(backend: str, workers: str, tmp_path: Path) -> None:
    file = tmp_path / "packets.pcapng"
    with Origin(echo) as origin:
        arguments = ("--backend", backend, "--workers", workers, "--forward", f"0:{origin.target}")
        with serve(tmp_path, *arguments, "--pcap", str(file)) as served:
            with socket.create_connection(("127.0.0.1", served.ports[1]), timeout=60) as sock:
                app = sock.getsockname()[1]
                sock.sendall(b"over and back")
                assert read_exactly(sock, 13) == b"over and back"
                sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, 0x48)
                sock.sendall(b"marked")
                served.wait_for("flow-ended", because="tos-reset")
            connected = served.wait_for("flow-connected")
    assert file.stat().st_mode & 0o777 == 0o600
    told = read_fields(file, "frame.interface_name", "tcp.flags.str", "tcp.len", "ip.dsfield", "tcp.srcport")
    near = connected["local"].rpartition(":")[2]
    assert [(name, flags.strip("·").replace("·", ""), *rest) for name, flags, *rest in told] == [
        ("guest", "S", "0", "0x00", str(app)),
        ("host", "S", "0", "0x00", near),
        ("host", "AS", "0", "0x00", str(origin.port)),
        ("host", "A", "0", "0x00", near),
        ("guest", "AS", "0", "0x00", str(origin.port)),
        ("guest", "A", "0", "0x00", str(app)),
        ("guest", "AP", "13", "0x00", str(app)),
        ("host", "AP", "13", "0x00", near),
        ("host", "AP", "13", "0x00", str(origin.port)),
        ("guest", "AP", "13", "0x00", str(origin.port)),
        ("guest", "AP", "0", "0x48", str(app)),
        ("guest", "AR", "0", "0x00", str(origin.port)),
        ("host", "AF", "0", "0x00", near),
        ("host", "AF", "0", "0x00", str(origin.port)),
    ]
    comments = [comment for (comment,) in read_fields(file, "frame.comment")]
    process = connected["process"]  # a busy host may not find it in time
    owner = [f"{process['name']}[{process['pid']}]"] if process is not None else []
    assert comments[-3:] == [", ".join([*owner, "tos-reset"])] * 2 + (owner or [""])
    descriptions = {description for (description,) in read_fields(file, "frame.interface_description")}
    assert len(descriptions) == 2
    assert all("rebuilt from the relay's event log" in each for each in descriptions)
    of_packets, of_events = (ladders_of(each) for each in (file, served.events_file))
    assert [arrows(ladder) for ladder in of_packets] == [arrows(ladder) for ladder in of_events]
    assert [ladder.cause for ladder in of_packets] == ["tos-reset"]


def test_what_a_file_held_is_gone_and_a_quiet_relay_writes_too(tmp_path: Path) -> None:
    file = tmp_path / "packets.pcapng"
    file.write_bytes(b"an earlier capture" * 1000)
    with (
        Origin(echo) as origin,
        serve(tmp_path, "--forward", f"0:{origin.target}", "--pcap", str(file), log=False) as served,
        socket.create_connection(("127.0.0.1", served.ports[1]), timeout=60) as sock,
    ):
        sock.sendall(b"x")
        assert read_exactly(sock, 1) == b"x"
    assert len(read_fields(file, "frame.number")) > 6


@pytest.mark.parametrize("why", ["--listen 127.0.0.1:{taken}", "--source 192.0.2.1", "--port-file /", "--workers 65"])
def test_a_start_that_fails_leaves_the_capture_of_an_earlier_run(why: str, tmp_path: Path) -> None:
    file = tmp_path / "packets.pcapng"
    file.write_text("precious\n")
    with socket.create_server(("127.0.0.1", 0)) as holder:
        arguments = why.format(taken=holder.getsockname()[1]).split()
        done = relay_in_fork("serve", "--listen", "127.0.0.1:0", "--pcap", str(file), *arguments)
    assert (done.returncode, len(done.stderr.splitlines()), file.read_text()) == (2, 2, "precious\n")


def test_a_capture_that_is_rotated_goes_on_in_a_file_of_its_own(backend: str, tmp_path: Path) -> None:
    file, moved = tmp_path / "packets.pcapng", tmp_path / "packets.1"
    with (
        Origin(echo) as origin,
        serve(tmp_path, "--backend", backend, "--forward", f"0:{origin.target}", "--pcap", str(file)) as served,
    ):
        with socket.create_connection(("127.0.0.1", served.ports[1]), timeout=60) as sock:
            served.wait_for("flow-connected")
            file.rename(moved)
            served.process.send_signal(signal.SIGHUP)
            deadline_s = time.monotonic() + 60
            while not file.exists():
                assert time.monotonic() < deadline_s
                time.sleep(0.02)  # a file cannot be waited on
            sock.sendall(b"x")
            assert read_exactly(sock, 1) == b"x"
        process = served.wait_for("flow-ended")["process"]
    assert file.stat().st_mode & 0o777 == 0o600
    before, after = (read_fields(each, "tcp.flags.str", "tcp.stream", "frame.comment") for each in (moved, file))
    assert len(before) == 6
    assert all("S" in flags or "A" in flags for flags, *_ in before)
    assert len(after) >= 4
    assert not any("S" in flags for flags, *_ in after)
    owner = f"{process['name']}[{process['pid']}]" if process is not None else ""
    assert all(comment.startswith(owner) for *_, comment in after)


def test_a_capture_that_cannot_be_reopened_goes_on_in_the_old_file(tmp_path: Path) -> None:
    file, moved = tmp_path / "packets.pcapng", tmp_path / "packets.1"
    with (
        Origin(echo) as origin,
        serve(tmp_path, "--forward", f"0:{origin.target}", "--pcap", str(file), log=False) as served,
    ):
        file.rename(moved)
        file.mkdir()
        served.process.send_signal(signal.SIGHUP)
        told = served.wait_for_stderr("goes on with the file that it has open")
        assert f"relay: --pcap: cannot reopen {file}: Is a directory\n" in told
        with socket.create_connection(("127.0.0.1", served.ports[1]), timeout=60) as sock:
            sock.sendall(b"x")
            assert read_exactly(sock, 1) == b"x"
    assert len(read_fields(moved, "frame.number")) > 6


def test_it_goes_down_a_pipe(tmp_path: Path) -> None:
    file = tmp_path / "packets.pcapng"
    with (
        Origin(echo) as origin,
        file.open("w") as stdout,
        serve(tmp_path, "--forward", f"0:{origin.target}", "--pcap", "-", stdout=stdout, log=False) as served,
        socket.create_connection(("127.0.0.1", served.ports[1]), timeout=60) as sock,
    ):
        sock.sendall(b"x")
        assert read_exactly(sock, 1) == b"x"
    assert len(read_fields(file, "frame.number")) >= 6


@pytest.mark.parametrize(
    ("options", "error", "hint"),
    [
        (
            ("--pcap", "/nonexistent/packets"),
            "--pcap: cannot write /nonexistent/packets: No such file or directory",
            "name a file, or - for stdout",
        ),
        (
            ("--pcap", "-", "--events", "-"),
            "--pcap: stdout has the lines of --events already",
            "name a file for one of them",
        ),
    ],
)
def test_what_cannot_be_written_is_refused(options: tuple[str, ...], error: str, hint: str) -> None:
    done = relay_in_fork("serve", "--listen", "127.0.0.1:0", *options)
    assert (done.returncode, done.stderr.splitlines()) == (2, [f"relay: {error}", f"hint: {hint}"])


def test_a_terminal_gets_none() -> None:
    near, far = pty.openpty()
    try:
        done = subprocess.run(
            [*RELAY, "serve", "--listen", "127.0.0.1:0", "--pcap", "-"],
            stdout=far,
            stderr=subprocess.PIPE,
            text=True,
            timeout=30,
            check=False,
            env=clean_environment(),
        )
    finally:
        os.close(near)
        os.close(far)
    assert (done.returncode, done.stderr.splitlines()[0]) == (2, "relay: --pcap: stdout is a terminal")
