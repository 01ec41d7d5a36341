"""A child that is forked while a link is open: the parent's link goes on, and the child keeps nothing of it open."""

from __future__ import annotations

import sys

import pytest

from support.capabilities import need_root
from support.guests import environment
from support.programs import run

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(sys.platform == "win32", reason="there is no fork"),
]

_FORK = """
import os

def fork():
    waiting, told = os.pipe()
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(told)
        os.write(writer, b"x")
        os.read(waiting, 1)
        os._exit(0)
    os.read(reader, 1)
    return pid, told
"""
_PROGRAM = """
import os, socket, sys
import anyio
from relay.wire.link.opening import open_link
from relay.wire.link.spec import parse_wire
from support.links import watched

backend, spec, place = sys.argv[1:]

async def main():
    kind = socket.SOCK_STREAM if spec.startswith("qemu") else socket.SOCK_DGRAM
    frame = bytes(range(60))
    data = len(frame).to_bytes(4) + frame if kind == socket.SOCK_STREAM else frame
    async with watched(open_link(parse_wire(spec))) as received:
        with socket.socket(socket.AF_UNIX, kind) as guest:
            if kind == socket.SOCK_DGRAM:
                guest.bind(place + ".guest")
            guest.connect(place)
            guest.send(data)
            await received.until_count(1)
            child = fork()
            for count in (2, 3):
                guest.send(data)
                assert await received.until_count(count) == [frame] * count
            received.link.close()
            guest.settimeout(60)
            if kind == socket.SOCK_STREAM:
                assert guest.recv(1) == b""
            else:
                try:
                    guest.send(data)
                except OSError:
                    pass
                else:
                    raise AssertionError("the child holds the socket open")
    os.close(child[1])
    os.waitpid(child[0], 0)

anyio.run(main, backend=backend)
"""
_TUN = """
import os, sys
import anyio
from relay.wire.addresses import addresses_in
from relay.wire.namespace.opening import open_namespace
from support.links import watched

SAY = "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); " \\
    "[(input(), s.sendto(b'x', ('192.0.2.1', 7))) for _ in range(2)]; input()"

async def main():
    reader, writer = os.pipe()
    os.dup2(reader, 0)
    addresses = addresses_in("192.168.27.0/24")
    namespace = await open_namespace(["/usr/bin/python3", "-c", SAY], addresses, kinds=[sys.argv[2]])
    async with watched(namespace.link) as received:
        namespace.start()
        os.write(writer, b"\\n")
        await received.until_count(1)
        pid, told = fork()
        os.write(writer, b"\\n")
        await received.until_count(2)
        os.write(writer, b"\\n")
        assert await namespace.wait() == 0
    namespace.close()
    assert [each for each in os.listdir(f"/proc/{pid}/fd") if "tun" in os.readlink(f"/proc/{pid}/fd/{each}")] == []
    os.close(told)
    os.waitpid(pid, 0)

anyio.run(main, backend=sys.argv[1])
"""


@pytest.mark.parametrize("kind", ["qemu:unix", "unixgram"])
def test_a_link_of_sockets_outlives_a_fork_and_ends_with_its_relay(backend: str, kind: str, tmp_path: object) -> None:
    place = f"{tmp_path}/guest"
    done = run(sys.executable, "-c", _FORK + _PROGRAM, backend, f"{kind}:{place}", place, env=environment())
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("kind", ["tun", "pair"])
def test_a_link_of_a_device_outlives_a_fork_and_ends_with_its_relay(backend: str, kind: str) -> None:
    need_root()
    done = run(sys.executable, "-c", _FORK + _TUN, backend, kind, env=environment())
    assert (done.returncode, done.stderr) == (0, "")
