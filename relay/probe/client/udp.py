"""UDP from the client: straight through the NAT, or by a SOCKS5 proxy that stands for one (RFC 1928 section 7)."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_address

import anyio

from relay.address import Endpoint
from relay.errors import RelayError
from relay.probe.client.dial import Dialer
from relay.probe.stream import Broken, Stream

_READ_BYTES = 2048
_ASKED_WITHIN_S = 10.0  # real


class UdpSocket:
    """One UDP socket of the app's."""

    def __init__(self, sock: socket.socket, proxy: Endpoint | None = None) -> None:
        self._sock = sock
        self._proxy = proxy

    @property
    def port(self) -> int:
        """Its own."""
        return int(self._sock.getsockname()[1])

    def send(self, data: bytes, target: Endpoint) -> None:
        """Send a datagram; one that this host cannot send is lost."""
        if self._proxy is None:
            address = target
        else:
            ip = ip_address(target.host)
            header = b"\0\0\0" + (b"\x04" if ip.version == 6 else b"\x01") + ip.packed + target.port.to_bytes(2, "big")
            data, address = header + data, self._proxy
        try:
            self._sock.sendto(data, address)
        except OSError:  # ECONNREFUSED of an earlier one, ENETUNREACH
            return

    async def receive(self) -> bytes:
        """The next datagram that comes."""
        while True:
            await anyio.wait_readable(self._sock)
            try:
                data = self._sock.recv(_READ_BYTES)
            except OSError:
                continue
            return data if self._proxy is None else _bare(data)


@asynccontextmanager
async def open_udp(dialer: Dialer, target: Endpoint) -> AsyncIterator[UdpSocket]:
    """A socket, for as long as the block lasts.

    Raises:
        RelayError: the proxy carries no UDP, or this host has no such socket.
    """
    if dialer.via is None:
        with _socket(target) as sock:
            yield UdpSocket(sock)
        return
    if not dialer.via.scheme.startswith("socks5"):
        raise RelayError("an HTTP proxy carries no UDP")
    stream = await dialer.connect(dialer.via.address, _ASKED_WITHIN_S, past_proxy=True)
    if not isinstance(stream, Stream):
        raise RelayError(f"the proxy is out of reach: {stream.how}")
    try:
        bound = await dialer.via.associate(stream)
        with _socket(bound) as sock:
            yield UdpSocket(sock, bound)
    except Broken:
        raise RelayError("the proxy carries no UDP") from None
    finally:
        stream.close()


def _socket(target: Endpoint) -> socket.socket:
    ip = target.ip
    sock = socket.socket(socket.AF_INET6 if ip is not None and ip.version == 6 else socket.AF_INET, socket.SOCK_DGRAM)
    sock.setblocking(False)
    sock.bind(("", 0))
    return sock


def _bare(data: bytes) -> bytes:
    """What is behind the proxy's header; nothing where there is none."""
    size = {1: 10, 4: 22}.get(data[3] if len(data) > 3 else 0)
    return data[size:] if size is not None else b""
