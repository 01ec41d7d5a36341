"""Plain-socket clients for every front end, so that a test can set socket options and see errno."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import struct
from collections.abc import Iterator

from relay.testing import RunningRelay
from support.origins import read_exactly, read_to_end

FRONT_ENDS = ("forward", "socks4", "socks5", "http-connect")
"""The ways to an origin that carry bytes as they are."""


USER, PASSWORD = "ann", "s3cret:with-colon%"
"""Who may use a relay that asks."""


class Refused(Exception):
    """The proxy said no, with this code, and over HTTP with this text."""

    def __init__(self, code: int, text: str = "") -> None:
        super().__init__(code, text)
        self.code = code
        self.text = text


def connect(
    nat: RunningRelay, front_end: str, host: str, port: int, *, tos: int | None = None, early: bytes = b""
) -> socket.socket:
    """Connect to HOST:PORT through one of the relay's front ends; `tos` is set before the SYN.

    `early` is sent in the same segment as the request, where there is one.

    Raises:
        Refused: the proxy refused; a forward resets instead.
    """
    if front_end == "direct":
        address = (host, port)
    elif front_end == "forward":
        forwarded = nat.forward(host, port)
        address = (forwarded.host, forwarded.port)
    else:
        address = (nat.address.host, nat.address.port)
    sock = socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET)
    sock.settimeout(60)
    try:
        if tos is not None:
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, tos)
        sock.connect(address)
        ask(sock, front_end, host, port, early=early)
    except BaseException:
        sock.close()
        raise
    return sock


def connect_by_port(
    proxy_port: int, host: str, port: int, *, front_end: str = "socks5", via: str = "127.0.0.1"
) -> socket.socket:
    """Connect to HOST:PORT through the proxy port, on loopback, of a relay of which no more is known."""
    sock = socket.create_connection((via, proxy_port), timeout=60)
    try:
        ask(sock, front_end, host, port)
    except BaseException:
        sock.close()
        raise
    return sock


def connect_from(port: int, to: tuple[str, int]) -> socket.socket:
    """Connect from this port, which may have been another connection's just before; 0 is one that is free.

    The address is one that no other test connects from, so that the port stays free.
    """
    sock = socket.socket()
    try:
        sock.settimeout(60)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.bind(("127.0.0.77", port))
        sock.connect(to)
    except BaseException:
        sock.close()
        raise
    return sock


@contextlib.contextmanager
def crowd(port: int, count: int) -> Iterator[list[socket.socket]]:
    """So many connections to a port on loopback, by clients that say nothing."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=60)) for _ in range(count)]


def ask(sock: socket.socket, front_end: str, host: str, port: int, *, early: bytes = b"") -> None:
    """Ask for HOST:PORT on a connection to the proxy, or to a forward, which need not be asked."""
    match front_end:
        case "socks4":
            _ask_socks4(sock, host, port, early)
        case "socks5":
            _ask_socks5(sock, host, port, early)
        case "http-connect":
            _ask_http(sock, host, port, early)
        case _ if early:
            sock.sendall(early)


def whole_request(front_end: str, host: str, port: int) -> bytes:
    """All that a client has to say to be connected, at once and without a look at any answer; a forward wants none."""
    match front_end:
        case "socks4" | "socks4a":
            return _socks4_request(host, port)
        case "socks5":
            return b"\x05\x01\x00" + socks5_request(host, port)
        case "http-connect":
            return _connect_request(host, port)
        case _:
            return b""


def is_reset_by(sock: socket.socket, data: bytes) -> bool:
    """Send something; whether the connection is reset for it, or was meanwhile."""
    try:
        sock.sendall(data)
        sock.recv(1)
    except ConnectionResetError:
        return True
    return False


def socks5_request(host: str, port: int, command: int = 1) -> bytes:
    """The request of RFC 1928 section 4."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        encoded = b"\x03" + bytes([len(host)]) + host.encode()
    else:
        encoded = (b"\x01" if address.version == 4 else b"\x04") + address.packed
    return b"\x05" + bytes([command]) + b"\x00" + encoded + struct.pack(">H", port)


def read_socks5_reply(sock: socket.socket) -> int:
    """The reply's code, after the whole reply was read."""
    head = read_exactly(sock, 4)
    length = {1: 4, 4: 16}[head[3]]
    read_exactly(sock, length + 2)
    return head[1]


def _socks4_request(host: str, port: int) -> bytes:
    try:
        address, name = ipaddress.IPv4Address(host).packed, b""
    except ValueError:
        address, name = b"\x00\x00\x00\x01", host.encode() + b"\x00"  # SOCKS4a
    return b"\x04\x01" + struct.pack(">H", port) + address + b"me\x00" + name


def _connect_request(host: str, port: int) -> bytes:
    authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n".encode()


def _ask_socks4(sock: socket.socket, host: str, port: int, early: bytes) -> None:
    sock.sendall(_socks4_request(host, port) + early)
    code = read_exactly(sock, 8)[1]
    if code != 0x5A:
        raise Refused(code)


def _ask_socks5(sock: socket.socket, host: str, port: int, early: bytes) -> None:
    sock.sendall(b"\x05\x01\x00")
    assert read_exactly(sock, 2) == b"\x05\x00"
    sock.sendall(socks5_request(host, port) + early)
    if code := read_socks5_reply(sock):
        raise Refused(code)


def _ask_http(sock: socket.socket, host: str, port: int, early: bytes) -> None:
    sock.sendall(_connect_request(host, port) + early)
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += read_exactly(sock, 1)
    code = int(head.split()[1])
    if code != 200:
        raise Refused(code, read_to_end(sock).decode())
