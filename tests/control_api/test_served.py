"""`relay serve --control`: with workers, on a Unix socket, and what it says when it cannot."""

from __future__ import annotations

import socket
import subprocess
import time
from pathlib import Path

import pytest

from support.control_client import Client
from support.origins import Origin, echo, read_exactly
from support.programs import relay, serve

pytestmark = pytest.mark.system


@pytest.mark.parametrize("workers", ["1", "2"])
def test_it_steers_all_workers(tmp_path: Path, workers: str) -> None:
    ports = tmp_path / "ports"
    options = ("--control", "127.0.0.1:0", "--workers", workers, "--port-file", str(ports))
    with serve(tmp_path, *options) as served, Origin(echo) as origin:
        *_, port = ports.read_text().split()
        served.wait_for_stderr(f"control http://127.0.0.1:{port}")
        client = Client(f"http://127.0.0.1:{port}")
        listen = client.ask("POST", "/relay/v1/commands/open-forward", {"target": origin.target}).json["result"]
        apps = [socket.create_connection(("127.0.0.1", int(listen.rpartition(":")[2])), 60) for _ in range(8)]
        for app in apps:
            app.sendall(b"hello")
            assert read_exactly(app, 5) == b"hello"
        flows = client.ask("GET", "/relay/v1/flows").json["flows"]
        assert [flow["bytes_out"] for flow in flows] == [5] * 8
        slow = {"name": "slow", "side": "app", "delay_s": 0.1, "forward": listen}
        assert client.ask("POST", "/relay/v1/commands/set-fault", slow).json == {"result": None}
        listed = client.ask("POST", "/relay/v1/commands/list-faults", {}).json["result"]
        assert listed == [slow | {"side": "internal"}]
        for app in apps:
            began_s = time.monotonic()
            app.sendall(b"hello")
            assert read_exactly(app, 5) == b"hello"
            assert time.monotonic() - began_s >= 0.1
        lift = {"name": "slow", "forward": listen}
        assert client.ask("POST", "/relay/v1/commands/lift-fault", lift).json == {"result": True}
        assert client.ask("POST", "/relay/v1/commands/lift-fault", lift).json == {"result": False}
        assert client.ask("POST", "/relay/v1/commands/close-forward", {"listen": listen}).json == {"result": 8}
        for app in apps:
            assert app.recv(1) == b""
            app.close()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", int(listen.rpartition(":")[2])))


def test_a_unix_socket_is_for_its_user_alone_and_goes_with_the_relay(tmp_path: Path) -> None:
    path = tmp_path / "control"
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(path))
    left.close()  # as a relay that was killed leaves it
    with serve(tmp_path, "--control", f"unix:{path}") as served:
        assert path.stat().st_mode & 0o777 == 0o600
        asked = ["curl", "-sS", "--unix-socket", str(path), "http://relay/version"]
        assert subprocess.run(asked, capture_output=True, text=True, check=True).stdout == '{"version": "2.12.0"}\n'
        second = relay("serve", "--listen", "127.0.0.1:0", "--control", f"unix:{path}")
        assert second.returncode == 2
        assert f"--control: cannot listen on unix:{path}: address already in use" in second.stderr
        assert served.port
    assert not path.exists()


def test_what_cannot_be_is_one_line(tmp_path: Path) -> None:
    refused = relay("serve", "--listen", "127.0.0.1:0", "--control", "0.0.0.0:0")
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 2)
    assert "--control: listening on 0.0.0.0:0 without a token" in refused.stderr
    with socket.create_server(("127.0.0.1", 0)) as taken:
        where = f"127.0.0.1:{taken.getsockname()[1]}"
        refused = relay("serve", "--listen", "127.0.0.1:0", "--control", where)
    assert refused.returncode == 2
    assert f"--control: cannot listen on {where}: address already in use" in refused.stderr
    token = tmp_path / "token"
    token.write_text("0123456789abcdef\n")
    with serve(tmp_path, "--control", "127.0.0.1:0", "--control-token-file", str(token)) as served:
        url = served.wait_for_stderr("control http").partition("control ")[2].split()[0]
        assert Client(url).ask("GET", "/metrics").status == 401
        assert Client(url).ask("GET", "/metrics", Authorization="Bearer 0123456789abcdef").status == 200


def test_the_variables_of_a_container_let_other_hosts_reach_it_by_the_service_s_name(tmp_path: Path) -> None:
    with serve(tmp_path, RELAY_CONTROL="0.0.0.0:0", RELAY_ALLOW_OPEN="true", RELAY_CONTROL_HOST="toxiproxy") as served:
        client = Client(f"http://127.0.0.1:{served.ports[-1]}")
        assert client.ask("GET", "/version", Host="toxiproxy:8474").status == 200
        assert client.ask("GET", "/version", Host="evil.test").status == 403
        made = client.ask("POST", "/proxies", {"name": "one", "upstream": "127.0.0.1:9", "listen": "0.0.0.0:0"})
        assert made.status == 201
        assert made.json["listen"].startswith("0.0.0.0:")
