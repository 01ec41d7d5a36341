"""Keepalive of a command behind the NAT counts when the clock is moved on: its network's own kernel knows the timer."""

from __future__ import annotations

import socket
import sys
import threading
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from relay.config import configure
from relay.log import EventLog, Record
from relay.server import open_relay
from relay.wire.frontend import WireFrontEnd
from relay.wire.guest_network import GuestNetwork
from relay.wire.namespace.opening import open_namespace
from support.behind_nat import BACKENDS, HOST
from support.capabilities import need_root
from support.origins import Origin

pytestmark = [pytest.mark.system, pytest.mark.skipif(sys.platform != "linux", reason="namespaces are Linux's")]

_APP = """
import socket, sys
sock = socket.create_connection((sys.argv[1], int(sys.argv[2])))
if sys.argv[3] != "0":
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, int(sys.argv[3]))
for word in (b"x", b"y"):
    sock.sendall(word)
    assert sock.recv(1) == word
sock.recv(1)
"""


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("keepalive_s", "lives"), [(0, False), (60, True)])
def test_a_command_with_keepalive_below_the_limit_keeps_its_connection(
    tmp_path: Path, backend: str, keepalive_s: int, lives: bool
) -> None:
    need_root()
    program, ready, over = tmp_path / "app.py", threading.Event(), threading.Event()
    program.write_text(_APP)

    def echo_twice(connection: socket.socket) -> None:
        for _ in range(2):
            connection.sendall(connection.recv(1))
        ready.set()
        over.wait(30)

    async def advance(port: int) -> list[Record]:
        profile, network = "aws-nat-gateway", GuestNetwork()
        config = configure(profile, listen=None, has_guests=True)
        command = [sys.executable, str(program), HOST, str(port), str(keepalive_s)]
        namespace = await open_namespace(command, network.addresses)
        try:
            front_end = WireFrontEnd(namespace.link, config.profile.stack.build(), network, 7, namespace.owners)
            async with open_relay(config, EventLog(), front_ends=[front_end]) as relay:
                namespace.start()
                assert await anyio.to_thread.run_sync(ready.wait, 20)
                return await relay.advance(350)
        finally:
            over.set()
            namespace.close()

    with Origin(echo_twice) as origin:
        caused = anyio.run(advance, origin.port, backend=backend)
    assert any(record.event == "flow-ended" for record in caused) is not lives
    presumed = [record.fields for record in caused if record.event == "keepalive-presumed"]
    assert [(each["side"], each["probes"], each["every_s"]) for each in presumed] == [("internal", 5, 60)] * lives
