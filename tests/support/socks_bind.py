"""A plain-socket client of SOCKS BIND, of all three versions, and its peer."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from relay.testing import RunningRelay
from support.clients import socks5_request
from support.origins import read_exactly
from support.socks_udp import WITHIN_S, read_reply

BIND = 0x02
PEER, OTHER = "127.0.0.1", "127.0.0.2"
PROTOCOLS = ("socks4", "socks4a", "socks5")


class Reply(NamedTuple):
    """A reply, of whichever version; the code of success is 0."""

    code: int
    address: tuple[str, int]


class Waiting:
    """A client that waits for its peer."""

    def __init__(self, nat: RunningRelay, protocol: str, *, peer: str = PEER, behind: bytes = b"") -> None:
        self.sock = socket.create_connection(nat.address, timeout=WITHIN_S)
        self._is_socks5 = protocol == "socks5"
        if self._is_socks5:
            self.sock.sendall(b"\x05\x01\x00" + socks5_request(peer, 21, BIND) + behind)
            assert read_exactly(self.sock, 2) == b"\x05\x00"
        else:
            named = protocol == "socks4a"
            address = b"\x00\x00\x00\x01" if named else socket.inet_aton(peer)
            name = peer.encode() + b"\x00" if named else b""
            self.sock.sendall(b"\x04\x02" + struct.pack(">H", 21) + address + b"me\x00" + name + behind)

    def reply(self) -> Reply:
        """The next of the two replies."""
        if self._is_socks5:
            return Reply(*read_reply(self.sock))
        version, code, port, *address = struct.unpack(">BBH4B", read_exactly(self.sock, 8))
        assert version == 0
        return Reply(0 if code == 0x5A else code, (".".join(map(str, address)), port))


@contextmanager
def waiting(nat: RunningRelay, protocol: str = "socks5", *, peer: str = PEER, behind: bytes = b"") -> Iterator[Waiting]:
    client = Waiting(nat, protocol, peer=peer, behind=behind)
    with client.sock:
        yield client


def connect_from(host: str, to: tuple[str, int]) -> socket.socket:
    return socket.create_connection(to, timeout=WITHIN_S, source_address=(host, 0))
