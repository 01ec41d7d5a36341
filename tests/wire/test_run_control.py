"""`relay run --control`: a client outside sees the flows of a command behind the NAT, and ends one."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from typing import Any

import pytest

from support.behind_nat import BACKENDS, HOST
from support.capabilities import need_root
from support.control_client import Client
from support.origins import Origin, echo
from support.programs import RELAY, clean_environment, run

pytestmark = [pytest.mark.system, pytest.mark.skipif(sys.platform != "linux", reason="namespaces are Linux's")]

_WAITS = """
import socket, sys
with socket.create_connection((sys.argv[1], int(sys.argv[2]))) as app:
    app.sendall(b"x")
    app.recv(1)
    try:
        app.recv(1)
    except ConnectionResetError:
        print("reset")
"""


def flow_of(client: Client) -> dict[str, Any]:
    """The only flow, or nothing as long as there is none."""
    (flow,) = client.ask("GET", "/relay/v1/flows").json["flows"] or [{}]
    return dict(flow)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_command_s_flow_is_seen_and_ended_from_outside(backend: str) -> None:
    need_root()
    with Origin(echo) as origin:
        command = [*RELAY, "run", "--backend", backend, "--control", "127.0.0.1:0", "--"]
        command += [sys.executable, "-c", _WAITS, HOST, str(origin.port)]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=clean_environment()
        ) as process:
            assert process.stderr is not None
            said = re.fullmatch(r"control (http://\S+)\n", process.stderr.readline())
            assert said is not None
            client = Client(said[1])
            deadline_s = time.monotonic() + 30
            while not (flow := flow_of(client)).get("bytes_in"):
                assert time.monotonic() < deadline_s
                time.sleep(0.02)  # the list cannot be waited on
            assert flow["destination"] == origin.target
            assert client.ask("POST", "/relay/v1/commands/link-down", {}).status == 200
            told, rest = process.communicate(timeout=30)
    assert (process.returncode, told, rest) == (0, "reset\n", "")


def test_what_cannot_be_listened_on_is_named_before_the_command_runs() -> None:
    need_root()
    done = run(*RELAY, "run", "--control", "0.0.0.0:0", "--", "echo", "ran")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("relay: --control: listening on 0.0.0.0:0 without a token\n")
