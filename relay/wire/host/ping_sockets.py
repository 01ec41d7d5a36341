"""The host's sockets behind the guest's echo requests: ping sockets, or one raw socket where there are none.

    ping   SOCK_DGRAM with IPPROTO_ICMP: no privilege, but on Linux net.ipv4.ping_group_range says who may. The kernel
           puts an identifier of its own in each request, and gives the socket the replies to that alone
    raw    SOCK_RAW: needs CAP_NET_RAW, or root. It is shown every reply that comes to the host, so each mapping has an
           identifier of its own
    none   no request is answered

macOS' ping sockets are in between: the identifier stays, and a reply comes with its IP header, as on a raw socket.
"""

from __future__ import annotations

import enum
import secrets
import socket
import struct
import sys
from collections import Counter
from contextlib import suppress
from typing import NamedTuple

from relay.address import Endpoint
from relay.loop.engine import Engine
from relay.wire.host.host_socket import HostSocket, SocketAddress
from relay.wire.host.outside import Outside, SendToGuest, number_of
from relay.wire.host.sweep import Sweep
from relay.wire.host.view import NO_VIEW, View
from relay.wire.icmp import ECHO_REPLY, ECHO_REQUEST, IcmpNat, SendEcho
from relay.wire.mappings import Close, End, Open
from relay.wire.packet import ICMP, ICMP_HEADER_BYTES, Icmp, Ipv4, build_icmp

_SOL_RAW, _ICMP_FILTER = 255, 1  # linux/icmp.h
_ALL_BUT_REPLIES = struct.pack("=I", 0xFFFFFFFF ^ 1 << ECHO_REPLY)
_HEADER = struct.Struct(">BBHHH")
_IP_VERSION = 4
_IDENTS = 1 << 16


class PingAccess(enum.Enum):
    """How this host lets the relay ask others for an echo."""

    PING = "ping socket"
    RAW = "raw socket"
    NONE = "none"

    @property
    def remedy(self) -> str:
        """What to do so that there is a way; empty if there is one."""
        if self is not PingAccess.NONE:
            return ""
        if sys.platform == "linux":
            return "sysctl net.ipv4.ping_group_range='0 2147483647', or CAP_NET_RAW"
        return "run it as root, or as administrator"


def find_ping_access() -> PingAccess:
    """Try what there is."""
    for access, kind in ((PingAccess.PING, socket.SOCK_DGRAM), (PingAccess.RAW, socket.SOCK_RAW)):
        with suppress(OSError), socket.socket(socket.AF_INET, kind, socket.IPPROTO_ICMP):
            return access
    return PingAccess.NONE


class PingSockets:
    """Carries the guest's echo requests. What cannot be sent is lost, and counted by reason."""

    def __init__(
        self,
        engine: Engine,
        nat: IcmpNat,
        outside: Outside,
        send: SendToGuest,
        access: PingAccess,
        view: View = NO_VIEW,
        *,
        source: str | None = None,
    ) -> None:
        """`view` is shown what passes.

        `source` is the host's address to send from; without it the host's routes choose.
        """
        self.dropped: Counter[str] = Counter()
        self._engine = engine
        self._nat = nat
        self._outside = outside
        self._send = send
        self._access = access
        self._view = view
        self._source = source
        self._asking: dict[End, _Asking] = {}
        self._ends: dict[int, End] = {}  # by the identifier that each has on the host
        self._raw: HostSocket | None = None
        self._last_ident = secrets.randbelow(_IDENTS)
        self._sweep = Sweep(engine, nat, self._close)

    def on_message(self, ip: Ipv4, icmp: Icmp) -> None:
        """The guest sends an ICMP message to another host."""
        if self._access is PingAccess.NONE:
            self.dropped["no ping socket"] += 1
            return
        for step in self._nat.on_message(ip, icmp, self._engine.nat.now_s()):
            match step:
                case SendEcho():
                    self._ask(step)
                case Open(end):
                    self._open(end)
                case Close(end):
                    self._close(end)
        self._sweep.arm()

    def close(self) -> None:
        """Close every socket; harmless when repeated."""
        self._sweep.stop()
        for end in list(self._asking):
            self._close(end)
        if self._raw is not None:
            self._raw.close()

    def _open(self, end: End) -> None:
        try:
            if self._access is PingAccess.PING:
                opened, ident = self._open_socket(socket.SOCK_DGRAM)
            else:
                self._raw = opened = self._raw or self._open_socket(socket.SOCK_RAW)[0]
                ident = 0
        except OSError as error:
            self._nat.on_failed(end)
            self._drop(error)
            return
        ident = ident or self._free_ident()
        self._asking[end] = _Asking(opened, ident)
        self._ends[ident] = end
        self._view.begin(ICMP, end)

    def _open_socket(self, kind: int) -> tuple[HostSocket, int]:
        """A socket, and the identifier that the kernel has given it; 0 if none."""
        opened = HostSocket(self._engine, socket.AF_INET, kind, socket.IPPROTO_ICMP, self._on_message)
        try:
            opened.sock.bind((self._source or "", 0))
            if kind == socket.SOCK_RAW and sys.platform == "linux":
                opened.sock.setsockopt(_SOL_RAW, _ICMP_FILTER, _ALL_BUT_REPLIES)
            ident = opened.sock.getsockname()[1] if kind == socket.SOCK_DGRAM else 0
        except OSError:
            opened.close()
            raise
        opened.watch()
        return opened, ident

    def _free_ident(self) -> int:
        while True:  # there are fewer mappings than identifiers
            self._last_ident = (self._last_ident + 1) % _IDENTS
            if self._last_ident not in self._ends:
                return self._last_ident

    def _close(self, end: End) -> None:
        if (asking := self._asking.pop(end, None)) is not None:
            del self._ends[asking.ident]
            if asking.sock is not self._raw:
                asking.sock.close()

    def _ask(self, step: SendEcho) -> None:
        asking = self._asking.get(step.end)
        if asking is None:
            return  # its socket could not be opened, which is counted
        header = build_icmp(ECHO_REQUEST, 0, asking.ident, step.sequence, step.payload)
        target = self._outside.translated(step.destination, 0)
        sock = asking.sock.sock
        try:
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, step.ttl)
            message = b"".join((header, step.payload))
            sock.sendto(message, target)
        except OSError as error:
            self._drop(error)
            return
        self._view.show(ICMP, step.end, sock, target, message, True)

    def _on_message(self, data: memoryview, address: SocketAddress) -> None:
        if data and data[0] >> 4 == _IP_VERSION:  # an echo reply begins with 0
            data = data[(data[0] & 0x0F) * 4 :]
        if len(data) < ICMP_HEADER_BYTES:
            return
        kind, _, _, ident, sequence = _HEADER.unpack_from(data)
        end, source = self._ends.get(ident), self._outside.seen_as(number_of(address[0]))
        if kind != ECHO_REPLY or end is None or source is None:
            return
        self._view.show(ICMP, end, self._asking[end].sock.sock, Endpoint(address[0], 0), data, False)
        packet = self._nat.on_reply(end, source, sequence, data[ICMP_HEADER_BYTES:], self._engine.nat.now_s())
        if packet is not None:
            self._send(*packet)

    def _drop(self, error: OSError) -> None:
        self.dropped[(error.strerror or "not sent").lower()] += 1


class _Asking(NamedTuple):
    """The socket that an end asks by, and its identifier on the host."""

    sock: HostSocket
    ident: int
