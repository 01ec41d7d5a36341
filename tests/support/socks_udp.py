"""A plain-socket client of SOCKS5's UDP ASSOCIATE, which can also do what no client should."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

from relay.address import Endpoint
from support.clients import socks5_request
from support.origins import read_exactly

ASSOCIATE = 0x03
WITHIN_S = 60.0
SOON_S = 0.05  # within which something would have come on loopback that does not


class Associated:
    """A client that may send datagrams, from a socket of its own."""

    def __init__(
        self,
        port: int,
        *,
        host: str = "127.0.0.1",
        says: int = 0,
        names_its_port: bool = False,
        source: str | None = None,
    ) -> None:
        """`says` is the port that it claims to send from, or with `names_its_port` its socket's; 0 leaves that open."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.control = socket.create_connection((host, port), timeout=WITHIN_S)
        self.udp = socket.socket(family, socket.SOCK_DGRAM)
        self.udp.settimeout(WITHIN_S)
        self.udp.bind((source or host, 0))
        claimed = self.udp.getsockname()[1] if names_its_port else says
        self.control.sendall(b"\x05\x01\x00" + socks5_request("0.0.0.0", claimed, ASSOCIATE))
        assert read_exactly(self.control, 2) == b"\x05\x00"
        self.code, self.relay = read_reply(self.control)
        """The reply: its code, and where datagrams are to go."""

    def __enter__(self) -> Associated:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.control.close()
        self.udp.close()

    def send(self, payload: bytes, to: tuple[str, int]) -> None:
        self.send_raw(framed(payload, *to))

    def send_raw(self, datagram: bytes, by: socket.socket | None = None) -> None:
        """Send these very bytes, by another socket than its own if one is given."""
        (by or self.udp).sendto(datagram, self.relay)

    def receive(self) -> tuple[bytes, Endpoint]:
        """The next datagram's payload, and where it came from."""
        return unframed(self.udp.recv(1 << 16))

    def hears_nothing(self) -> bool:
        """Whether nothing comes."""
        self.udp.settimeout(SOON_S)
        try:
            self.udp.recv(1 << 16)
        except TimeoutError:
            return True
        finally:
            self.udp.settimeout(WITHIN_S)
        return False


def read_reply(control: socket.socket) -> tuple[int, Endpoint]:
    """A reply of RFC 1928 section 6: its code, and the address in it."""
    version, code, reserved, kind = read_exactly(control, 4)
    assert (version, reserved) == (5, 0)
    address = ipaddress.ip_address(read_exactly(control, 4 if kind == 1 else 16))
    return code, Endpoint(str(address), int.from_bytes(read_exactly(control, 2)))


def framed(payload: bytes, host: str, port: int, *, fragment: int = 0) -> bytes:
    """A datagram as RFC 1928 section 7 has it."""
    request = socks5_request(host, port, 0)
    return bytes((0, 0, fragment)) + request[3:] + payload


def unframed(datagram: bytes) -> tuple[bytes, Endpoint]:
    assert datagram[:3] == bytes(3)
    end = 8 if datagram[3] == 1 else 20
    address = ipaddress.ip_address(datagram[4:end])
    return datagram[end + 2 :], Endpoint(str(address), int.from_bytes(datagram[end : end + 2]))


class UdpServer:
    """A socket that a test answers by itself."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        self.sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.settimeout(WITHIN_S)
        self.sock.bind((host, 0))
        self.address: tuple[str, int] = self.sock.getsockname()[:2]

    def hear(self) -> tuple[bytes, tuple[str, int]]:
        """The next datagram, and who sent it."""
        payload, source = self.sock.recvfrom(1 << 16)
        return payload, source[:2]

    def echo(self) -> tuple[str, int]:
        """Send the next datagram back; who sent it."""
        payload, source = self.hear()
        self.sock.sendto(payload, source)
        return source

    def hears_nothing(self) -> bool:
        """Whether nothing comes."""
        self.sock.settimeout(SOON_S)
        try:
            self.sock.recv(1 << 16)
        except TimeoutError:
            return True
        finally:
            self.sock.settimeout(WITHIN_S)
        return False


@contextmanager
def udp_server(host: str = "127.0.0.1") -> Iterator[UdpServer]:
    server = UdpServer(host)
    with server.sock:
        yield server
