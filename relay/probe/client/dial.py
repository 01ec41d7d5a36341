"""Connects, and says how it failed if it did: directly, or through a SOCKS5 or HTTP proxy that stands for the NAT."""

from __future__ import annotations

import errno
import os
import socket
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TypeAlias

import anyio

from relay.address import Endpoint
from relay.events import FailureKind
from relay.net.dial import FAILURE_BY_ERRNO
from relay.probe.client.proxy import Proxy
from relay.probe.clock import ProbeClock
from relay.probe.stream import Broken, Stream

_UNDER_WAY = frozenset({errno.EINPROGRESS, errno.EWOULDBLOCK, getattr(errno, "WSAEWOULDBLOCK", -1)})
_WORDS = {
    FailureKind.REFUSED: "refused",
    FailureKind.NETWORK_UNREACHABLE: "unreachable",
    FailureKind.HOST_UNREACHABLE: "unreachable",
    FailureKind.TIMED_OUT: "timed out",
    FailureKind.NOT_RESOLVED: "not resolved",
}


@dataclass(frozen=True, slots=True)
class Failure:
    """A connection that did not come about."""

    how: str
    """`refused`, `unreachable`, `timed out`, `not resolved`, `silence` (by our own limit), or what the kernel says."""


Connected: TypeAlias = Stream | Failure


class Dialer:
    """Connects to endpoints, by one way."""

    def __init__(self, clock: ProbeClock, via: Proxy | None = None) -> None:
        self.via = via
        self._clock = clock

    async def connect(
        self, target: Endpoint, within_s: float | None, *, tos: int | None = None, past_proxy: bool = False
    ) -> Connected:
        """Connect within so many real seconds (None: the caller limits it). A TOS byte is the SYN's already."""
        via = None if past_proxy else self.via
        stream: Stream | None = None
        with self._clock.patience(within_s) if within_s is not None else nullcontext():
            try:
                addresses = await _resolved(via.address if via is not None else target)
                stream = await _connected(*addresses[0], tos)
                if via is None:
                    return stream
                refusal = await via.ask(stream, target)
                if not refusal:
                    return stream
                stream.close()
                return Failure(refusal)
            except socket.gaierror:
                return Failure("not resolved")
            except Broken as broken:
                if stream is not None:
                    stream.close()
                return Failure("reset" if broken.end == "rst" else broken.end)
            except ConnectionResetError:  # after the SYN-ACK; a refused SYN is another errno
                return Failure("reset")
            except OSError as error:
                kind = FAILURE_BY_ERRNO.get(error.errno or 0)
                return Failure(_WORDS.get(kind, "") if kind is not None else os.strerror(error.errno or 0))
            except BaseException:
                if stream is not None:
                    stream.reset()  # a FIN might be half of a close: a proxy would go on
                raise
        return Failure("silence")


async def _resolved(target: Endpoint) -> list[tuple[int, tuple[str, int]]]:
    if (ip := target.ip) is not None:
        return [(socket.AF_INET6 if ip.version == 6 else socket.AF_INET, target)]
    found = await anyio.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    return [(family, (str(address[0]), int(address[1]))) for family, _, _, _, address in found]


async def _connected(family: int, address: tuple[str, int], tos: int | None) -> Stream:
    """Connect, or raise the kernel's OSError."""
    sock = socket.socket(family)
    try:
        sock.setblocking(False)
        if tos is not None:
            set_tos(sock, tos)
        error = sock.connect_ex(address)
        if error in _UNDER_WAY:
            await anyio.wait_writable(sock)
            error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            raise OSError(error, os.strerror(error))
        return Stream(sock)
    except BaseException:
        anyio.notify_closing(sock)
        sock.close()
        raise


def set_tos(sock: socket.socket, tos: int) -> None:
    """Have what is sent from now on carry this TOS byte (IPv6: traffic class).

    Raises:
        OSError: this host does not let a program do so.
    """
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, tos)
    else:
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, tos)
