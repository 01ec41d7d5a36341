"""Provider `kernel sockets`: what a socket of any kernel does unasked, and what an ordinary program can make of it.

Nothing has to be attached for these, and they are declared all the same: a leg that is no kernel's socket is asked for
them by the same words.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar

from relay.abilities import Ability, Want
from relay.observe._api import Fidelity, Offer, Provider

_CLOSE = (
    Offer(
        Fidelity.EXACT,
        "FIN and RST as the app sees them; the RST carries the kernel's sequence and ACK flag, not vmnat's bare RST",
    )
    if sys.platform == "linux"
    else Offer(
        Fidelity.APPROXIMATE,
        "FIN and RST by the kernel's sockets, measured on Linux alone",
        remedy="use relay on Linux",
    )
)


class KernelSocketsProvider(Provider):
    """What the others fall back on; there is no doing without it."""

    name: ClassVar[str] = "kernel sockets"
    optional: ClassVar[bool] = False
    offers: ClassVar[Mapping[Want, Offer]] = MappingProxyType(
        {
            Want(Ability.KEEPALIVE_ANSWER, by="nat"): Offer(
                Fidelity.APPROXIMATE,
                "the relay's kernel answers each probe, but none is seen: the event log does not tell of them",
            ),
            Want(Ability.HANDSHAKE): Offer(
                Fidelity.EXACT,
                "the reply of SOCKS or HTTP CONNECT is sent when a behaviour grants the connection",
            ),
            Want(Ability.CLOSE): _CLOSE,
            Want(Ability.ACK, by="nat"): Offer(Fidelity.EXACT, "the relay's kernel acknowledges what the app sends"),
            Want(Ability.ACK, by="server"): Offer(
                Fidelity.APPROXIMATE,
                "the relay's kernel acknowledges first; what the server never took is reported as lost",
            ),
            Want(Ability.BLACKHOLE): Offer(
                Fidelity.APPROXIMATE,
                "the app of a dead server is reset (ECONNRESET), where it should get no answer (ETIMEDOUT): {why}",
            ),
        }
    )
