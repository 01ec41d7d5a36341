"""`relay toxiproxy` starts as toxiproxy's server does, and is ready as what starts that expects."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cli.test_settings import complaint
from support.origins import Origin, echo, read_exactly
from support.programs import RELAY


@contextmanager
def started(*command: str) -> Iterator[int]:
    """The port of the API, once it is ready as testcontainers' strategies find out.

    That is a line of its log, on stdout, or GET /version, which answers 200.
    """
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert line, process.communicate()[1]
        said = json.loads(line)
        assert (said["level"], said["message"]) == ("info", "Starting Toxiproxy HTTP server")
        port = int(said["address"].removeprefix("127.0.0.1:"))
        assert is_ready(port)
        yield port
    finally:
        process.terminate()
        process.communicate(timeout=20)


def is_ready(port: int) -> bool:
    until_s = time.monotonic() + 60
    while time.monotonic() < until_s:
        connection = http.client.HTTPConnection("localhost", port, timeout=1)
        try:
            connection.request("GET", "/version")
            answer = connection.getresponse()
            if answer.status == 200:
                return str(json.loads(answer.read())["version"]).startswith("2.")
        except OSError:
            time.sleep(0.1)
        finally:
            connection.close()
    return False


@pytest.mark.system
def test_it_is_ready_and_has_the_proxies_of_its_file(tmp_path: Path) -> None:
    with Origin(echo) as origin:
        proxies = [{"name": "echo", "listen": "127.0.0.1:0", "upstream": origin.target, "enabled": True}]
        (tmp_path / "proxies.json").write_text(json.dumps(proxies))
        options = ["-host=localhost", "-port", "0", "--seed=7", "-proxy-metrics", f"-config={tmp_path}/proxies.json"]
        with started(*RELAY, "toxiproxy", *options, "--toxiproxy-parity") as port:
            connection = http.client.HTTPConnection("localhost", port, timeout=60)
            connection.request("GET", "/proxies")
            proxy = json.loads(connection.getresponse().read())["echo"]
            toxic = {"type": "latency", "attributes": {"latency": 1, "drift": 1}}
            connection.request("POST", "/proxies/echo/toxics", json.dumps(toxic))
            assert connection.getresponse().status == 200
            connection.close()
            host, _, listen = proxy["listen"].rpartition(":")
            with socket.create_connection((host, int(listen)), 60) as app:
                app.sendall(b"x")
                assert read_exactly(app, 1) == b"x"


@pytest.mark.parametrize("option", ["-version", "--version"])
def test_it_says_whose_api_it_speaks(option: str) -> None:
    done = complaint("toxiproxy", "-host", "0.0.0.0", option)
    assert (done.returncode, done.stdout, done.stderr) == (0, "toxiproxy-server version 2.12.0\n", "")


@pytest.mark.parametrize(
    ("arguments", "says", "hints"),
    [
        (["-hots=x"], "unknown argument '-hots=x'", "the options: -host=ADDRESS"),
        (["serve"], "unknown argument 'serve'", "the options: "),
        (["-port"], "-port needs a value", "the options: "),
        (["-port=http"], "-host, -port: 'http' is not a port", "0 to 65535"),
        (["-seed=x"], "-seed: 'x' is not a whole number", "-seed=7"),
        (["-config=/nowhere.json"], "-config: cannot read /nowhere.json: No such file", '"upstream"'),
        (["-port=0", "-config=/dev/null"], "-config: /dev/null: it is no JSON", '"upstream"'),
    ],
)
def test_what_is_wrong_is_named(arguments: list[str], says: str, hints: str) -> None:
    done = complaint("toxiproxy", *arguments)
    assert done.returncode == 2
    assert done.stderr.startswith(f"relay: {says}"), done.stderr
    assert hints in done.stderr
