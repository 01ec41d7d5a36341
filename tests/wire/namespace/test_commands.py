"""A command in a network of its own: what it sees there, what its packets are, and how it ends."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

from relay.wire.addresses import addresses_in
from relay.wire.namespace.opening import Namespace, open_namespace
from relay.wire.packet import UDP, build_ipv4, build_udp, dotted, parse_ipv4, parse_udp
from support.capabilities import need_program, need_root

pytestmark = [pytest.mark.system, pytest.mark.anyio]

ADDRESSES = addresses_in("192.168.27.0/24")


async def finished(*command: str, during: Callable[[Namespace], object] = lambda _: None) -> int:
    """Run a command in a network of its own to its end, and return its exit status."""
    need_root()
    with anyio.fail_after(20):
        namespace = await open_namespace(command, ADDRESSES)
        try:
            namespace.start()
            during(namespace)
            return await namespace.wait()
        finally:
            namespace.close()


def host_file(path: str) -> str:
    """What a file says out here."""
    return Path(path).read_text()


async def said(tmp_path: Path, script: str) -> str:
    """What a shell's script writes to stdout there."""
    found = tmp_path / "said"
    assert await finished("sh", "-c", f"{{ {script} ; }} > {found}") == 0
    return found.read_text()


async def test_it_has_the_guest_s_address_and_routes_and_no_other_device(tmp_path: Path) -> None:
    need_program("ip")
    told = await said(tmp_path, "ip -br address; ip route")
    assert [" ".join(line.split()) for line in told.splitlines()] == [
        "lo UNKNOWN 127.0.0.1/8 ::1/128",
        "eth0 UNKNOWN 192.168.27.128/24",
        "default via 192.168.27.2 dev eth0",
        "192.168.27.0/24 dev eth0 proto kernel scope link src 192.168.27.128",
    ]


async def test_its_name_server_is_the_nat(tmp_path: Path) -> None:
    assert await said(tmp_path, "cat /etc/resolv.conf") == "nameserver 192.168.27.2\n"
    assert host_file("/etc/resolv.conf") != "nameserver 192.168.27.2\n"


async def test_it_keeps_user_directory_and_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SOME_NAME", "a value\nof two lines")
    monkeypatch.setenv("PYTHONPATH", "/nowhere")
    told = await said(tmp_path, 'id -u; pwd; echo "$SOME_NAME"; echo "$PYTHONPATH"')
    assert told == f"{os.getuid()}\n{tmp_path}\na value\nof two lines\n/nowhere\n"


@pytest.mark.parametrize("status", [0, 1, 7, 255])
async def test_its_exit_status_is_passed_on(status: int) -> None:
    assert await finished("sh", "-c", f"exit {status}") == status


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGSEGV])
async def test_a_signal_that_killed_it_is_told_as_a_shell_does(number: signal.Signals) -> None:
    assert await finished("sleep", "60", during=lambda namespace: namespace.send_signal(number)) == 128 + number


async def test_what_it_cannot_run_is_named(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert await finished("no-such-program") == 127
    assert await finished(str(tmp_path)) == 126
    assert capfd.readouterr().err.splitlines() == [
        "relay: cannot run no-such-program: no such file or directory",
        f"relay: cannot run {tmp_path}: permission denied",
    ]


async def test_it_does_not_run_before_it_is_started(tmp_path: Path) -> None:
    need_root()
    trace = tmp_path / "trace"
    namespace = await open_namespace(("touch", str(trace)), ADDRESSES)
    await anyio.sleep(0.1)  # nothing happens: there is no event to wait for
    assert not trace.exists()
    namespace.start()
    assert await namespace.wait() == 0
    assert trace.exists()
    namespace.close()


async def test_its_packets_arrive_and_those_sent_reach_it(tmp_path: Path) -> None:
    need_root()
    program = (
        "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(10);"
        "s.connect(('192.0.2.1', 7)); s.send(b'there'); print(s.recv(100))"
    )
    with anyio.fail_after(20):
        found = tmp_path / "said"
        namespace = await open_namespace(("sh", "-c", f'python3 -c "{program}" > {found}'), ADDRESSES)
        namespace.start()
        link = namespace.link
        assert (link.ethernet, link.mtu, link.name) == (False, 1500, "tun:eth0")
        await anyio.wait_readable(link)
        packet = link.receive()
        assert packet is not None
        assert link.receive() is None
        ip = parse_ipv4(packet)
        assert ip is not None
        assert (dotted(ip.source), dotted(ip.destination)) == ("192.168.27.128", "192.0.2.1")
        asked = parse_udp(ip)
        assert asked is not None
        assert (asked.destination_port, bytes(asked.payload)) == (7, b"there")
        header = build_udp(ip.destination, ip.source, 7, asked.source_port, b"and back")
        assert link.send((build_ipv4(ip.destination, ip.source, UDP, 16, ttl=128), header, b"and back"))
        assert await namespace.wait() == 0
        assert found.read_text() == "b'and back'\n"
        namespace.close()
