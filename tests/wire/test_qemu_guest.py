"""A real guest: iPXE in QEMU gets an address, a name's and a file, over nothing but the link of its network card.

Its card of the kind e1000 has room for few frames, so the relay's are lost now and then, and sent again.
"""

from __future__ import annotations

import random
import socket
from pathlib import Path

import pytest

from support.origins import Origin
from support.programs import serve
from support.qemu import run_ipxe

pytestmark = [pytest.mark.system, pytest.mark.timeout(240)]

_LINES = 3_000


def _long_script() -> bytes:
    """A script of some megabytes that notices if any of it is not as it was."""
    chance = random.Random(7)  # noqa: S311 - any text will do
    words = [chance.randbytes(240).hex() for _ in range(_LINES)]
    lines = ["#!ipxe", *(f"iseq {word} {word} || goto broken" for word in words), "echo arrived intact", "exit"]
    return "\n".join((*lines, ":broken", "echo broken", "")).encode()


@pytest.mark.parametrize(
    ("wire", "netdev", "card"),
    [
        ("qemu:unix:{path}", "stream,server=off,addr.type=unix,addr.path={path}", "e1000"),
        (
            "unixgram:{path}",
            "dgram,local.type=unix,local.path={path}.guest,remote.type=unix,remote.path={path}",
            "virtio-net-pci",
        ),
    ],
    ids=["stream", "datagrams"],
)
def test_ipxe_gets_an_address_and_a_file(tmp_path: Path, wire: str, netdev: str, card: str) -> None:
    path = tmp_path / "guest"
    content = _long_script()
    head = f"HTTP/1.0 200 OK\r\nContent-Length: {len(content)}\r\n\r\n".encode()

    def answer(connection: socket.socket) -> None:
        asked = b""
        while not asked.endswith(b"\r\n\r\n"):
            asked += connection.recv(1000)
        connection.sendall(head + content)

    with Origin(answer) as origin:
        options = ("--wire", wire.format(path=path), "--resolve", f"files.test:{origin.port}:127.0.0.1")
        with serve(tmp_path, *options, "--profile", "vmware-fusion") as relay:
            said = run_ipxe(
                tmp_path,
                netdev.format(path=path),
                [
                    "dhcp",
                    "echo guest ${net0/ip} mask ${net0/netmask} gateway ${net0/gateway} dns ${net0/dns}",
                    "echo domain ${net0/domain} server ${net0/dhcp-server}",
                    f"chain http://files.test:{origin.port}/ || echo failed",
                ],
                card=card,
            )
            ended = relay.wait_for("flow-ended")
    assert "guest 192.168.127.128 mask 255.255.255.0 gateway 192.168.127.2 dns 192.168.127.2" in said
    assert "domain localdomain server 192.168.127.254" in said
    assert "arrived intact" in said
    assert ended["bytes_in"] == len(head) + len(content)
