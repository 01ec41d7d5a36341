"""`relay run --inbound`: connections to a server in the guest, which the relay dials segment by segment."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from support.behind_nat import BACKENDS
from support.capabilities import need_root
from support.masses import wait_until
from support.origins import read_to_end
from support.programs import RELAY, Sshd, clean_environment, sshd_command

pytestmark = [pytest.mark.system, pytest.mark.skipif(sys.platform != "linux", reason="namespaces are Linux's")]

GUEST, HOST, GATEWAY = "192.168.127.128", "192.168.127.1", "192.168.127.2"
# Says when it listens, sends whom it sees and what it gets, and ends when its client has.
SERVER = """
import socket, sys
with socket.create_server(("0.0.0.0", int(sys.argv[1]))) as listener:
    print("listening", flush=True)
    connection, client = listener.accept()
    with connection:
        connection.sendall(client[0].encode() + b"\\n")
        while data := connection.recv(65536):
            connection.sendall(data)
"""
PORT = 8000
# A session's shell reads nothing of the developer's own, which may leave something behind when it is killed.
PLAIN_SHELL = "if [ -e ~/.bashrc ]; then mount --bind /dev/null ~/.bashrc; fi"
BULK = bytes(range(256)) * 20_000


@dataclass
class Running:
    """A `relay run` with one inbound forward."""

    process: subprocess.Popen[str]
    events_file: Path
    port: int = 0

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=20)

    def events(self) -> list[dict[str, Any]]:
        whole, _, _ = self.events_file.read_text().rpartition("\n")  # a line may be half written
        return [json.loads(line) for line in whole.splitlines()]

    def wait_for(self, event: str) -> dict[str, Any]:
        """The first event of this name, once it is written."""
        found: list[dict[str, Any]] = []

        def is_there() -> bool:
            found[:] = [each for each in self.events() if each["event"] == event]
            return bool(found)

        wait_until(is_there, lambda: f"no {event}: {self.events()}")
        return found[0]


@contextlib.contextmanager
def running(directory: Path, command: Sequence[str], target: str, *options: str) -> Iterator[Running]:
    """Run a command in the guest, with a port of the host's loopback that leads to `target`."""
    need_root()
    events = directory / "events.jsonl"
    words = [*RELAY, "run", "--events", str(events), "--inbound", f"0:{target}", *options, "--", *command]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=clean_environment())
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "listening\n"
        guest = Running(process, events)
        guest.port = int(guest.wait_for("relay-started")["inbound"][0].partition(" ")[0].rpartition(":")[2])
        yield guest
    finally:
        process.terminate()
        process.wait(20)
        process.stdout.close()  # type: ignore[union-attr]


def _send_all(client: socket.socket) -> None:
    client.sendall(BULK)
    client.shutdown(socket.SHUT_WR)


def python(script: str, *arguments: object) -> list[str]:
    return [sys.executable, "-c", script, *map(str, arguments)]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("offload", ["auto", "off"])
def test_a_server_in_the_guest_is_reached_through_a_port_of_the_hosts(
    tmp_path: Path, backend: str, offload: str
) -> None:
    for attempt in range(3):
        ended = _reach_server(tmp_path / str(attempt), "--backend", backend, "--offload", offload)
        assert ended["destination"] == f"{GUEST}:{PORT}"
        assert (ended["internal"], ended["external"]) == ("fin", "fin")
        if ended["process"] is not None:  # the log waits 0.25 s for its name, and a busy host may take longer
            break
    assert ended["process"]["name"] == Path(sys.executable).name[:15]


def _reach_server(directory: Path, *options: str) -> dict[str, Any]:
    """Have a server in the guest send and receive; the record of the flow's end."""
    directory.mkdir()
    with running(directory, python(SERVER, PORT), f"{GUEST}:{PORT}", *options) as guest, guest.connect() as client:
        sender = threading.Thread(target=_send_all, args=(client,))
        sender.start()
        assert read_to_end(client) == f"{HOST}\n".encode() + BULK
        sender.join()
        assert guest.process.wait(20) == 0, "the server ends when its client has, and the relay with it"
    (ended,) = [each for each in guest.events() if each["event"] == "flow-ended"]
    return ended


def test_the_client_is_the_gateway_where_the_host_is_not_to_be_seen(tmp_path: Path) -> None:
    options = ("--no-host",)
    with running(tmp_path, python(SERVER, PORT), f"{GUEST}:{PORT}", *options) as guest, guest.connect() as client:
        client.shutdown(socket.SHUT_WR)
        assert read_to_end(client) == f"{GATEWAY}\n".encode()


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_port_that_the_guest_has_not_is_refused(tmp_path: Path, backend: str) -> None:
    options = ("--backend", backend)
    with running(tmp_path, python(SERVER, PORT), f"{GUEST}:{PORT + 1}", *options) as guest:
        with pytest.raises(ConnectionResetError), guest.connect() as client:  # it may come as early as the connect
            client.recv(1)
        assert guest.wait_for("dial-failed")["failure"] == "refused"


def test_an_address_that_no_guest_has_is_given_up_in_time(tmp_path: Path) -> None:
    target, options = f"192.168.127.77:{PORT}", ("--connect-timeout", "0.5")
    with running(tmp_path, python(SERVER, PORT), target, *options) as guest, guest.connect() as client:
        with pytest.raises(ConnectionResetError):
            client.recv(1)
        failed = guest.wait_for("dial-failed")
        assert (failed["failure"], failed["detail"]) == ("timed out", f"{target}: did not answer within 0.5 s")


def test_the_clients_reset_reaches_the_server_in_the_guest(tmp_path: Path) -> None:
    script = SERVER.replace("while data", "try:\n          while data", 1)
    script = script.replace(
        "            connection.sendall(data)",
        "              pass\n        except ConnectionResetError:\n          print('reset')",
    )
    with running(tmp_path, python(script, PORT), f"{GUEST}:{PORT}") as guest:
        client = guest.connect()
        assert client.recv(100)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.close()
        assert guest.process.stdout is not None
        assert guest.process.stdout.readline() == "reset\n"


@pytest.mark.parametrize(
    ("servers", "clients", "lives"),
    [
        ("af21 cs1", "none", False),
        ("lowdelay throughput", "af21 cs1", True),
        ("lowdelay throughput", "none", True),
    ],
)
def test_an_sshd_in_the_guest_is_hit_through_a_forward_and_only_its_own_ipqos_helps(
    tmp_path: Path, servers: str, clients: str, lives: bool
) -> None:
    server = Sshd(0, tmp_path / "user_key", tmp_path / "sshd.log")
    command = sshd_command(tmp_path, PORT, f"IPQoS={servers}")
    script = ["sh", "-c", f'{PLAIN_SHELL}; echo listening; exec "$@" 2> /dev/null', "sh", *command]
    with running(tmp_path, script, f"{GUEST}:{PORT}") as guest:
        wait_until(lambda: _answers(guest), lambda: "sshd does not listen")
        done = server.ssh(guest.port, f"IPQoS={clients}")
        resets = [each for each in guest.events() if each["event"] == "rst-sent" and each["because"] == "tos-reset"]
    if lives:
        assert (done.returncode, done.stdout, resets) == (0, "it-lives\n", []), done.stderr
    else:
        assert done.returncode == 255
        assert [each["side"] for each in resets] == ["internal"]


def _answers(guest: Running) -> bool:
    try:
        with guest.connect() as client:
            return client.recv(4) == b"SSH-"
    except ConnectionResetError:
        return False
