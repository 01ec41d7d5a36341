"""`relay run`: unmodified programs behind the NAT, with no proxy setting."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import pytest

from support.behind_nat import BACKENDS, HOST, run_inside
from support.origins import Origin
from support.programs import relay, sshd
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
