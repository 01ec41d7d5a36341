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
    """What the others fall back on; every host has it."""

    name: ClassVar[str] = "kernel sockets"
    optional: ClassVar[bool] = False
    offers: ClassVar[Mapping[Want, Offer]] = MappingProxyType(
        {
            Want(Ability.KEEPALIVE_ANSWER, by="nat"): Offer(
                Fidelity.APPROXIMATE,
                "the relay's kernel answers each probe, but none is seen: the event log has no record of them",
            ),
            Want(Ability.KEEPALIVE_ANSWER, by="server"): Offer(
                Fidelity.APPROXIMATE,
                "the relay's kernel answers each probe, until the server, which the relay probes in turn, is dead",
                remedy="have the relay's own TCP answer the app: relay run, or relay serve --wire",
            ),
            Want(Ability.PROBE): Offer(
                Fidelity.APPROXIMATE,
                "the server's answers to probes are not seen, and are taken for granted until it is found dead: {why}",
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
            Want(Ability.IDLENESS, by="data"): Offer(Fidelity.EXACT, "the relay knows when it has carried bytes"),
            Want(Ability.IDLENESS, by="segments"): Offer(
                Fidelity.APPROXIMATE, "bytes count, but keepalive probes are not seen and do not: {why}"
            ),
            Want(Ability.SILENCE): Offer(
                Fidelity.APPROXIMATE,
                "the relay reads no more: a writer is acknowledged until a buffer is full, and keepalive probes are "
                "answered for ever: {why}",
            ),
            Want(Ability.STRAY_RESET): Offer(
                Fidelity.APPROXIMATE,
                "the relay resets when data, FIN or, where it sees one, a keepalive probe has come: data is "
                "acknowledged first, a probe is answered and reset up to 2 s later: {why}",
            ),
        }
    )
