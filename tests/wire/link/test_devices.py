"""Devices that a user has made: TUN, TAP, and an end of a veth pair; each test's are in a network of its own."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import anyio
import pytest

from relay.errors import ConfigError, RelayError, Unsupported
from relay.wire.addresses import addresses_in
from relay.wire.arp import REQUEST, parse_arp
from relay.wire.frame import ARP, parse_frame
from relay.wire.link import Link
from relay.wire.link.devices import open_device
from relay.wire.link.ethernet import EthernetLink
from relay.wire.link.opening import open_link
from relay.wire.link.spec import parse_wire
from relay.wire.packet import UDP, build_ipv4, build_udp, dotted, parse_ipv4, parse_udp
from support.capabilities import need_program
from support.guests import environment
from support.links import Received, watched
from support.namespaces import in_own_network
from support.programs import as_ordinary_user

pytestmark = pytest.mark.system

ADDRESSES = addresses_in("192.168.27.0/24")
TRY = "from relay.wire.link.devices import open_device; open_device('{}', '{}')"


def ip(*lines: str) -> None:
    program = need_program("ip")
    for line in lines:
        subprocess.run([program, *line.split()], check=True)


def run(backend: str, test: Callable[[], Awaitable[None]]) -> None:
    """Run a test on this backend in a network of its own."""
    in_own_network(lambda: anyio.run(test, backend=backend))


@contextmanager
def speaker() -> Iterator[socket.socket]:
    """A socket of this host's stack, to beyond the device."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(60)
        sock.bind(("192.168.27.128", 4711))
        sock.connect(("192.0.2.1", 7))
        yield sock


async def until_heard(received: Received, sock: socket.socket) -> None:
    """Send until something has arrived: up to a second after it was opened, a device has no carrier."""
    with anyio.fail_after(60):
        while not said(received):
            sock.send(b"there")
            await anyio.sleep(0.02)


async def check_both_ways(link: Link) -> None:
    """A datagram of the host's stack arrives, and the answer reaches it."""
    async with watched(link) as received:
        with speaker() as sock:
            await until_heard(received, sock)
            assert said(received)[0] == b"there"
            header = build_udp(0xC0000201, ADDRESSES.guest, 7, 4711, b"and back")
            assert link.send((build_ipv4(0xC0000201, ADDRESSES.guest, UDP, 16, ttl=64), header, b"and back"))
            assert await anyio.to_thread.run_sync(sock.recv, 100) == b"and back"


def said(received: Received) -> list[bytes]:
    """The payloads of the UDP datagrams among what has arrived."""
    found = []
    for datagram in received.datagrams:
        parsed = parse_ipv4(memoryview(bytearray(datagram)))
        udp = parse_udp(parsed) if parsed is not None and parsed.protocol == UDP else None
        if udp is not None and udp.destination_port == 7:
            found.append(bytes(udp.payload))
    return found


def make(device: str, *ways: str) -> None:
    ip(
        *ways,
        f"address add 192.168.27.128/24 dev {device}",
        f"link set {device} up",
        "route add default via 192.168.27.2",
    )


@pytest.mark.parametrize("offload", [False, True])
def test_a_tun_device_carries_packets(backend: str, offload: bool) -> None:
    async def test() -> None:
        make("mine0", "tuntap add mode tun name mine0")
        link = open_link(parse_wire("tun:mine0"), offload=offload)
        assert (link.name, link.mtu, link.ethernet, link.offload) == ("tun:mine0", 1500, False, offload)
        await check_both_ways(link)

    run(backend, test)


@pytest.mark.parametrize("way", ["tuntap add mode tap name mine0", "tuntap add mode tap multi_queue name mine0"])
def test_a_tap_device_carries_frames(backend: str, way: str) -> None:
    async def test() -> None:
        make("mine0", way, "link set mine0 mtu 1400")
        link = open_device("tun", "mine0")
        assert (link.name, link.mtu, link.ethernet) == ("tun:mine0", 1400, True)
        await check_both_ways(EthernetLink(link, ADDRESSES))

    run(backend, test)


@pytest.mark.parametrize("offload", [False, True])
def test_an_end_of_a_pair_carries_frames(backend: str, offload: bool) -> None:
    async def test() -> None:
        make("guest0", "link add mine0 type veth peer name guest0", "link set mine0 up")
        link = open_device("interface", "mine0", offload=offload)
        assert (link.name, link.mtu, link.ethernet, link.offload) == ("interface:mine0", 1500, True, offload)
        await check_both_ways(EthernetLink(link, ADDRESSES))

    run(backend, test)


def test_frames_that_the_host_itself_sends_there_are_not_the_guest_s(backend: str) -> None:
    async def test() -> None:
        ip("link add mine0 type veth peer name guest0", "link set mine0 up", "link set guest0 up")
        ip("address add 192.168.27.1/24 dev mine0", "address add 192.168.28.1/24 dev guest0")
        async with watched(open_device("interface", "mine0")) as received:
            for target in ("192.168.27.5", "192.168.28.5"):
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                    sock.sendto(b"?", (target, 7))
            await received.until(lambda: asked_for(received))
            assert asked_for(received) == {"192.168.28.5"}

    run(backend, test)


def asked_for(received: Received) -> set[str]:
    """The addresses that ARP requests have asked for."""
    found = set()
    for datagram in received.datagrams:
        frame = parse_frame(memoryview(datagram))
        arp = parse_arp(frame.payload) if frame is not None and frame.kind == ARP else None
        if arp is not None and arp.operation == REQUEST:
            found.add(dotted(arp.target))
    return found


@pytest.mark.parametrize(
    ("spec", "make_it"),
    [
        ("tun:mine0", "tuntap add mode tun name mine0"),
        ("interface:mine0", "link add mine0 type veth peer name guest0"),
    ],
)
def test_a_device_that_is_made_again_is_opened_again(
    backend: str, spec: str, make_it: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a container's is, that starts again."""
    monkeypatch.setattr("relay.wire.link._device._REOPEN_S", 0.02)
    device = "mine0" if spec.startswith("tun") else "guest0"

    async def test() -> None:
        make(device, make_it, "link set mine0 up")
        link = open_link(parse_wire(spec))
        carrying = EthernetLink(link, ADDRESSES) if link.ethernet else link
        async with watched(carrying) as received:
            ip("link del mine0")
            await anyio.sleep(0.1)  # it is in vain so far
            assert not link.send((bytes(60),))
            make(device, make_it, "link set mine0 up")
            with speaker() as sock:
                await until_heard(received, sock)

    run(backend, test)


@pytest.mark.parametrize(
    ("spec", "error", "message", "hint"),
    [
        ("tun:none0", ConfigError, "--wire: there is no device 'none0'", "there are lo, mine0, pair0, pair1; "),
        ("interface:none0", ConfigError, "--wire: there is no device 'none0'", "there are lo, mine0, pair0, pair1; "),
        ("tun:pair0", ConfigError, "--wire: pair0 is no TUN or TAP device", "give interface:pair0"),
        ("interface:lo", ConfigError, "--wire: lo is no Ethernet device", "a TUN device is tun:lo"),
        ("interface:mine0", ConfigError, "--wire: mine0 is no Ethernet device", "a TUN device is tun:mine0"),
        ("tun:mine0", ConfigError, "--wire: mine0 is in use", "another program has it open"),
    ],
)
def test_what_cannot_be_opened_is_named(spec: str, error: type[RelayError], message: str, hint: str) -> None:
    def test() -> None:
        ip("tuntap add mode tun name mine0", "link add pair0 type veth peer name pair1")
        first = open_device("tun", "mine0")
        with pytest.raises(error) as raised:
            open_link(parse_wire(spec))
        assert (str(raised.value), raised.value.hint[: len(hint)]) == (message, hint)
        first.close()

    in_own_network(test)


@pytest.mark.parametrize(
    ("kind", "device", "told"),
    [
        ("tun", "mine0", "--wire: this process may not open tun:mine0: permission denied"),
        ("interface", "pair0", "--wire: this process may not open interface:pair0: operation not permitted"),
    ],
)
def test_what_an_ordinary_user_may_not_open_is_named(kind: str, device: str, told: str) -> None:
    def test() -> None:
        ip("tuntap add mode tun name mine0", "link add pair0 type veth peer name pair1")
        command = [*as_ordinary_user(), "python3", "-c", TRY.format(kind, device)]
        done = subprocess.run(command, capture_output=True, text=True, env=environment(), check=False)
        assert f"relay.errors.Unsupported: {told}" in done.stderr.splitlines()

    in_own_network(test)


def test_elsewhere_than_on_linux_there_are_no_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "darwin")
    with pytest.raises(Unsupported, match=r"--wire: tun:tun0: only on Linux"):
        open_device("tun", "tun0")
