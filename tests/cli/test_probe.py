"""`relay probe` and its server as programs: a round trip, what goes wrong, and that no token is on a command line."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from pathlib import Path

import pytest

from relay.profiles import load_profile
from support.ports import free_port
from support.probe_program import probe_server
from support.programs import RELAY, clean_environment, serve

_TOKEN = "0123456789abcdef0123456789abcdef"


def probe(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    command = [*RELAY, "probe", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False, env=clean_environment(**env)
    )


def test_a_round_trip_by_programs_through_a_proxy_and_through_forwards(tmp_path: Path, backend: str) -> None:
    quick = ("--only", "close", "--only", "tos", "--patience", "0.3", "--compare", "docker-published-port")
    with probe_server(tmp_path, "--backend", backend) as (ports, _):
        forwards = [word for port in ports for word in ("--forward", f"0:127.0.0.1:{port}")]
        with serve(tmp_path, "--profile", "docker-published-port", *forwards, log=False) as served:
            via, through, other = served.ports[:3]
            way = [f"127.0.0.1:{ports[0]}", "--via", f"socks5://127.0.0.1:{via}"]
            for course in (way, [f"127.0.0.1:{through}", "--other", f"127.0.0.1:{other}"]):
                done = probe(*course, *quick, "-o", str(tmp_path / "mine.toml"), "--backend", backend)
                assert done.returncode == 0, done.stderr
                assert "agrees with docker-published-port in 4 of 4" in done.stdout
                profile = load_profile(str(tmp_path / "mine.toml"))
                quirks = {quirk.name: quirk for quirk in profile.quirks}
                assert quirks["close-mapping"].settings["internal_rst"] == "fin"
                assert quirks["close-mapping"].status == "observed"
                assert "127.0.0.1" not in (tmp_path / "mine.toml").read_text()


def test_the_token_is_read_from_a_file_or_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(f"{_TOKEN}\n")
    with probe_server(tmp_path, "--token-file", str(file)) as (ports, _):
        address, quick = f"127.0.0.1:{ports[0]}", ("--only", "close", "--patience", "0.3")
        assert probe(address, *quick, "--token-file", str(file)).returncode == 0
        assert probe(address, *quick, RELAY_PROBE_TOKEN=_TOKEN).returncode == 0
        refused = probe(address, *quick, RELAY_PROBE_TOKEN=_TOKEN[::-1])
        assert (refused.returncode, refused.stdout) == (2, "")
        assert "another token" in refused.stderr
        assert "--token-file" in refused.stderr
        assert _TOKEN[::-1] not in refused.stderr


@pytest.mark.parametrize(
    ("arguments", "told", "hint"),
    [
        (["127.0.0.1:1"], "cannot reach the probe server at 127.0.0.1:1: refused", "relay probe server"),
        (["127.0.0.1:2", "--via", "http://127.0.0.1:1"], "127.0.0.1:2 through the proxy 127.0.0.1:1: refused", "start"),
        (["127.0.0.1"], "SERVER: cannot read '127.0.0.1'", "HOST:PORT"),
        (["127.0.0.1:1", "--via", "ftp://x:1"], "--via: cannot read 'ftp://x:1'", "socks5://"),
        (["127.0.0.1:1", "--only", "clos"], "--only: unknown probe 'clos'", "did you mean close?"),
        (["127.0.0.1:1", "--patience", "0"], "--patience: 0 is out of range", "from 0.01 to 3600 seconds"),
        (["127.0.0.1:1", "--max-flows", "5000"], "--max-flows: 5000 is out of range", "from 1 to 4096"),
        (["127.0.0.1:1", "--watch", "-1"], "--watch: -1 is out of range", "from 0 to 86000 seconds"),
        (["127.0.0.1:1", "--compare", "nothing"], "unknown profile 'nothing'", "relay profiles"),
        (["127.0.0.1:1", "--token-file", "/nowhere"], "--token-file: cannot read /nowhere", "16 to 512"),
        (["127.0.0.1:1", "-o", "/nowhere/mine.toml"], "--output: cannot write /nowhere/mine.toml", "can be written"),
        (["127.0.0.1:1", "-o", "/"], "--output: cannot write /: it is a folder", "can be written"),
        (
            ["server", "--listen", "127.0.0.1:0", "--port-file", "/nowhere/x"],
            "--port-file: cannot write",
            "can be written",
        ),
        (
            ["127.0.0.1:1", "--token", _TOKEN],
            "--token: there is no such option, for `ps` shows",
            "RELAY_PROBE_TOKEN, or",
        ),
        (["server", f"--token={_TOKEN}"], "--token: there is no such option, for `ps` shows", "--token-file FILE"),
        (["server", "--listen", "192.0.2.1:1"], "--listen: cannot listen on 192.0.2.1:1", "an address of this host"),
        ([], "missing argument SERVER", "relay probe --help"),
    ],
)
def test_what_goes_wrong_is_one_line_and_what_to_do(arguments: list[str], told: str, hint: str) -> None:
    done = probe(*arguments)
    assert done.returncode == 2
    assert told in done.stderr.splitlines()[-2]
    assert hint in done.stderr
    assert len(done.stderr.splitlines()) <= 3
    assert _TOKEN not in done.stderr


def test_ctrl_c_keeps_what_was_found(tmp_path: Path) -> None:
    mine = tmp_path / "mine.toml"
    with probe_server(tmp_path) as (ports, server):
        assert server.stderr is not None
        command = [*RELAY, "probe", f"127.0.0.1:{ports[0]}", "--patience", "0.3", "-o", str(mine)]
        with subprocess.Popen(command, env=clean_environment(), stderr=subprocess.PIPE, text=True) as client:
            for line in server.stderr:
                if line.endswith(": refusal\n"):
                    break
            seen = [json.loads(line) for line in mine.with_suffix(".jsonl").read_text().splitlines()]
            assert "precomplete-handshake.order" in [entry.get("found") for entry in seen]
            client.send_signal(signal.SIGINT)
            assert client.wait(20) == 130
    assert load_profile(str(mine)).quirks[0].settings["order"] == "lockstep"
    assert "close-mapping" not in mine.read_text()


def test_times_are_given_and_what_the_baseline_has_is_left_out(tmp_path: Path) -> None:
    watches = ("--max-life", "5", "--watch", "5", "--time-scale", "10", "--patience", "0.3")
    only = [word for name in ("close", "lifetime", "watch") for word in ("--only", name)]
    with probe_server(tmp_path) as (ports, _):
        done = probe(f"127.0.0.1:{ports[0]}", *only, *watches, "--baseline", "transparent")
    assert done.returncode == 0, done.stderr
    for told in ("lifetime-limit: none up to", "link-down-reset: connections did not die together in"):
        found = re.search(rf"^# {told} ([\d.]+)", done.stdout, re.MULTILINE)
        assert found is not None, done.stdout
        assert float(found[1]) >= 5  # a busy host is late
    assert "# as in transparent, and so not this NAT's: close-mapping." in done.stdout
    assert "[close-mapping]" not in done.stdout
    assert [line.split()[0] for line in done.stderr.splitlines()] == ["close", "lifetime", "watch"]


def test_a_server_that_is_started_anew_ends_the_probe_and_what_was_found_is_kept(tmp_path: Path) -> None:
    mine, listen = tmp_path / "mine.toml", f"127.0.0.1:{free_port(following=1)}"
    probes = ("--only", "close", "--only", "keepalive", "--quick", "--patience", "0.3")
    with probe_server(tmp_path, "--listen", listen) as (_, server):
        assert server.stderr is not None
        command = [*RELAY, "probe", listen, *probes, "-o", str(mine)]
        client = subprocess.Popen(command, env=clean_environment(), stderr=subprocess.PIPE, text=True)
        for line in server.stderr:
            if line.endswith(": keepalive\n"):
                break
    with client, probe_server(tmp_path, "--listen", listen):
        _, said = client.communicate(timeout=90)
    assert client.returncode == 1
    assert said.splitlines()[-2:] == [
        f"relay: {listen}: this server does not know the session any more",
        "hint: it was started anew; what was found until then is kept: run the rest again",
    ]
    assert [quirk.name for quirk in load_profile(str(mine)).quirks if quirk.status == "observed"] == ["close-mapping"]
