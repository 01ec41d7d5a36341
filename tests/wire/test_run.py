"""`relay run`: unmodified programs behind the NAT, with no proxy setting."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from support.behind_nat import BACKENDS, HOST, run_inside
from support.capabilities import need_program, need_root
from support.origins import Origin
from support.ports import free_port
from support.programs import RELAY, clean_environment, relay, sshd
from support.web import web

pytestmark = [pytest.mark.system, pytest.mark.skipif(sys.platform != "linux", reason="namespaces are Linux's")]


@pytest.mark.parametrize("backend", BACKENDS)
def test_curl_carries_a_megabyte_to_the_host_and_back(tmp_path: Path, backend: str) -> None:
    content = bytes(range(256)) * 4000
    (tmp_path / "sent").write_bytes(content)
    with Origin(web()) as origin:
        url = f"http://{HOST}:{origin.port}/"
        words = ["curl", "-sS", "--data-binary", f"@{tmp_path / 'sent'}", "-o", str(tmp_path / "got"), url]
        done, events = run_inside(tmp_path, words, "--backend", backend)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "got").read_bytes() == content
    (ended,) = [each for each in events if each["event"] == "flow-ended"]
    assert ended["destination"] == origin.target
    assert min(ended["bytes_in"], ended["bytes_out"]) > len(content)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("qos", "lives"),
    [
        ("lowdelay", True),
        ("throughput", True),
        ("none", True),
        ("af21", True),  # ssh marks its SYN, too, by the first of two values
        ("af21 cs1", False),
        ("af21 throughput", False),
        ("lowdelay cs1", False),
    ],
)
def test_ssh_is_reset_when_it_marks_its_segments_with_another_precedence(
    tmp_path: Path, backend: str, qos: str, lives: bool
) -> None:
    with sshd(tmp_path) as server:
        arguments = ["ssh", *server.arguments(f"IPQoS={qos}"), "-p", str(server.port), f"root@{HOST}", "echo", "alive"]
        done, events = run_inside(tmp_path, arguments, "--backend", backend)
    resets = [each for each in events if each["event"] == "rst-sent" and each["because"] == "tos-reset"]
    if lives:
        assert (done.returncode, done.stdout) == (0, "alive\n"), done.stderr
        assert not resets
    else:
        assert done.returncode == 255
        assert any(said in done.stderr for said in ("Connection reset", "Broken pipe"))  # a read or a write meets it
        assert [each["side"] for each in resets] == ["internal"]


def test_a_closed_port_is_refused(tmp_path: Path) -> None:
    done, events = run_inside(tmp_path, ["nc", "-vz", HOST, "1"])
    assert done.returncode == 1
    assert "Connection refused" in done.stderr
    assert [each["failure"] for each in events if each["event"] == "dial-failed"] == ["refused"]


def test_the_exit_status_is_the_commands(tmp_path: Path) -> None:
    assert run_inside(tmp_path, ["sh", "-c", "exit 7"])[0].returncode == 7
    assert run_inside(tmp_path, ["sh", "-c", "kill -TERM $$"])[0].returncode == 128 + 15


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_the_relay_is_one_to_the_command(number: signal.Signals, backend: str) -> None:
    """What a terminal would have sent both (Ctrl-C, Ctrl-\\) is left to the terminal."""
    need_root()
    script = f"trap 'echo ended; exit 42' {number.name[3:]}; echo ready; while :; do sleep 0.05; done"
    command = [*RELAY, "run", "--backend", backend, "--", "sh", "-c", script]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=clean_environment()) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        for typed in (signal.SIGINT, signal.SIGQUIT):
            process.send_signal(typed)
        process.send_signal(number)
        assert process.stdout.read() == "ended\n"
        assert process.wait(20) == 42


@pytest.mark.parametrize("backend", BACKENDS)
def test_iperf3_has_bulk_both_ways_and_datagrams(tmp_path: Path, backend: str) -> None:
    iperf3 = need_program("iperf3")
    port = str(free_port())
    server = subprocess.Popen([iperf3, "-s", "-B", "127.0.0.1", "-p", port, "--forceflush"], stdout=subprocess.PIPE)
    try:
        assert server.stdout is not None
        while b"Server listening" not in server.stdout.readline():
            pass
        client = f"{iperf3} -c {HOST} -p {port} -J"
        script = (
            # Now and then iperf3 ends before it has the server's counts, and says nothing of them.
            f"counts() {{ for try in 1 2 3; do said=$({client} $2) || exit 1\n"
            'case $said in *$1*) break ;; esac; done; echo "$said"; }\n'
            "counts sum_received '-n 20M'; counts sum_received '-R -n 20M'; counts lost_percent '-u -b 20M -n 1M'\n"
        )
        done, _ = run_inside(tmp_path, ["sh", "-c", script], "--backend", backend)
    finally:
        server.kill()
        server.communicate()
    assert (done.returncode, done.stderr) == (0, "")
    up, down, datagrams = _objects(done.stdout)
    received = [each["end"]["sum_received"]["bytes"] for each in (up, down)]
    assert min(received) > 15_000_000, "iperf3 cuts off what is on its way at the end, and no more"
    assert "sum" in datagrams["end"], datagrams
    arrived = datagrams["end"]["sum"]
    assert arrived["packets"] > 500
    assert arrived["lost_percent"] < 20, "a host that is busy may drop some"


def _objects(text: str) -> list[dict[str, Any]]:
    """The JSON objects that a text has, one behind the other."""
    found, decoder = [], json.JSONDecoder()
    while text := text.strip():
        each, end = decoder.raw_decode(text)
        found.append(each)
        text = text[end:]
    return found


@pytest.mark.parametrize("offload", ["auto", "off"])
def test_bulk_arrives_intact_in_super_segments_and_in_the_nats_own(tmp_path: Path, offload: str) -> None:
    content = random.Random(7).randbytes(8_000_000)  # noqa: S311 - any bytes will do
    (tmp_path / "sent").write_bytes(content)
    with Origin(web()) as origin:
        url = f"http://{HOST}:{origin.port}/"
        words = ["curl", "-sS", "--data-binary", f"@{tmp_path / 'sent'}", "-o", str(tmp_path / "got"), url]
        done, _ = run_inside(tmp_path, words, "--offload", offload)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "got").read_bytes() == content


def test_wrong_options_are_one_line_and_a_hint(tmp_path: Path) -> None:
    for option, value in (("--offload", "on"), ("--network", "10.0.0.0/30"), ("--network", "nonsense")):
        done = relay("run", option, value, "--", "true")
        assert done.returncode == 2
        first, second = done.stderr.splitlines()
        assert first.startswith(f"relay: {option}: ")
        assert second.startswith("hint: ")
