"""Provider `socket-filter` of black holes: a filter drops whatever comes for a socket, so its kernel never answers.

The mechanism is that of `socket_filter.py`, with a program that drops everything. It takes the place of any other
filter on the socket.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import ClassVar

from relay.abilities import Ability, Want
from relay.observe._api import Failure, Fidelity, Offer, Provider
from relay.observe.kernel import bpf
from relay.observe.kernel.ebpf import detach
from relay.observe.kernel.privileges import Capability
from relay.observe.self_test import connection, is_readable

_DROP_EVERYTHING = bpf.program(bpf.drop())


class BlackholeProvider(Provider):
    """Sockets whose peers get no answer."""

    name: ClassVar[str] = "socket-filter"
    offers: ClassVar[Mapping[Want, Offer]] = MappingProxyType(
        {
            Want(ability): Offer(Fidelity.EXACT, "a socket filter drops whatever comes")
            for ability in (Ability.BLACKHOLE, Ability.SILENCE)
        }
    )
    capabilities: ClassVar[tuple[Capability, ...]] = (Capability.NET_ADMIN,)

    @classmethod
    @cache
    def self_test(cls) -> Failure | None:
        if sys.platform != "linux":
            return Failure("no socket filters on this system")
        try:
            with connection() as (client, accepted):
                bpf.attach(accepted, _DROP_EVERYTHING)
                client.send(b"x")
                return Failure("what should be dropped was readable") if is_readable(accepted) else None
        except OSError as refusal:
            return Failure.of(refusal)

    def blackhole(self, sock: socket.socket, on: bool) -> bool:
        try:
            if on:
                bpf.attach(sock, _DROP_EVERYTHING)
            else:
                detach(sock)
        except OSError:  # taking it away fails for a closed socket alone
            return not on
        return True
