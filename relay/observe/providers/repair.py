"""Provider `tcp-repair`: a socket that is closed in repair mode sends nothing, and its kernel knows it no more.

Linux (TCP_REPAIR, made for moving connections between hosts). The peer learns of it by its next segment, a keepalive
probe or a FIN among them: the kernel answers it with RST, as it does for any segment without a connection.
"""

from __future__ import annotations

import contextlib
import socket
import sys
from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import ClassVar

from relay.abilities import Ability, Want
from relay.observe._api import Failure, Fidelity, Offer, Provider
from relay.observe.kernel.privileges import Capability
from relay.observe.self_test import Loop, connection

_TCP_REPAIR = 19  # <linux/tcp.h>


class RepairProvider(Provider):
    """Sockets that can be closed silently."""

    name: ClassVar[str] = "tcp-repair"
    purpose: ClassVar[str] = "connections that are dropped silently; Linux, CAP_NET_ADMIN"
    offers: ClassVar[Mapping[Want, Offer]] = MappingProxyType(
        {
            Want(Ability.STRAY_RESET): Offer(
                Fidelity.EXACT, "TCP_REPAIR, then close: the kernel answers the next segment with RST"
            )
        }
    )
    capabilities: ClassVar[tuple[Capability, ...]] = (Capability.NET_ADMIN,)

    @classmethod
    @cache
    def self_test(cls) -> Failure | None:
        if sys.platform != "linux":
            return Failure("no TCP_REPAIR on this system")
        try:
            with connection() as (client, accepted), contextlib.closing(Loop()) as loop:
                client.setblocking(False)
                _repair(accepted)
                accepted.close()
                if _ended(client):
                    return Failure("a close in repair mode was not silent")
                client.send(b"x")
                if not loop.run_until(lambda: _ended(client)):
                    return Failure("no RST for a segment without a connection")
        except OSError as refusal:
            return Failure.of(refusal)
        return None

    def vanish(self, sock: socket.socket) -> bool:
        try:
            _repair(sock)
        except OSError:
            return False
        return True


def _ended(client: socket.socket) -> bool:
    try:
        return not client.recv(1)
    except BlockingIOError:
        return False
    except ConnectionError:
        return True


def _repair(sock: socket.socket) -> None:
    sock.setsockopt(socket.IPPROTO_TCP, _TCP_REPAIR, 1)
