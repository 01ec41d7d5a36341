"""What a leg can see or do, and what a behaviour wants of it.

A behaviour says what it wants (`Behaviour.wants`), once for a profile. Every leg gets them, and this host's support for
each want is what the banner, `doctor` and `explain` show. What a kernel does unasked (it acknowledges data and answers
keepalive probes) is a want like any other: a leg that is no kernel's would never know of it otherwise.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass, replace


class Ability(enum.Enum):
    """Something that a leg, or the front end that it came through, can see or do."""

    TOS = "TOS byte"
    """Every segment's TOS byte is seen, and a segment that differs from the SYN can be withheld."""
    KEEPALIVE = "keepalive probe"
    """Keepalive probes from the app are seen."""
    KEEPALIVE_ANSWER = "answer to a keepalive probe"
    """Keepalive probes from the app are answered, and the event log has them: at once, or when the server answers."""
    PROBE = "probe of the server"
    """The server can be asked by a keepalive probe whether it is there, and its answer is seen."""
    HANDSHAKE = "handshake order"
    """The initiator learns of its connection when a behaviour says so, not before."""
    CLOSE = "FIN and RST"
    """FIN and RST can be distinguished, and each can be sent at will."""
    ACK = "acknowledgement"
    """The app's data is acknowledged: at once, or when the server has acknowledged it."""
    BLACKHOLE = "unanswered probe"
    """A leg can be made to leave whatever its peer sends without an answer."""
    IDLENESS = "idle time"
    """It is known when a side sent its last bytes, or its last segment (`by`)."""
    SILENCE = "silence of a forgotten connection"
    """A leg can be dropped silently, and what its peer sends gets no answer."""
    STRAY_RESET = "RST of a forgotten connection"
    """A leg can be dropped silently, and its peer's next segment is answered with RST."""


@dataclass(frozen=True, slots=True)
class Want:
    """An ability that a behaviour needs, and how."""

    ability: Ability
    mask: int = 0
    """Of `TOS`: the bits in which a segment must equal its SYN. One that differs is withheld, data and ACK, until
    `on_tos_changed` has decided; if that leaves the connection up, the peer's retransmission is taken in."""
    by: str = ""
    """Of `ACK` and `KEEPALIVE_ANSWER`: who acts, `nat` or `server`. Of `IDLENESS`: what counts, `data`, `segments`."""
    external: bool = False
    """Whether it is wanted of the external leg, which is a kernel's socket whatever the other is."""

    @property
    def kind(self) -> Want:
        """The same without its mask, of any leg: what a host's support depends on."""
        return replace(self, mask=0, external=False) if self.mask or self.external else self

    @property
    def title(self) -> str:
        """A name for people."""
        actors = {
            "nat": " by the NAT",
            "server": " by the server",
            "data": " without data",
            "segments": " without a segment",
        }
        return self.ability.value + actors.get(self.by, "")


KINDS = (
    Want(Ability.TOS),
    Want(Ability.KEEPALIVE),
    Want(Ability.KEEPALIVE_ANSWER, by="nat"),
    Want(Ability.KEEPALIVE_ANSWER, by="server"),
    Want(Ability.PROBE),
    Want(Ability.HANDSHAKE),
    Want(Ability.CLOSE),
    Want(Ability.ACK, by="nat"),
    Want(Ability.ACK, by="server"),
    Want(Ability.BLACKHOLE),
    Want(Ability.IDLENESS, by="data"),
    Want(Ability.IDLENESS, by="segments"),
    Want(Ability.SILENCE),
    Want(Ability.STRAY_RESET),
)
"""Every kind of want that a host's support is known for, in the order in which they are shown."""


def tos_mask(wants: Iterable[Want]) -> int:
    """The bits of the TOS byte that any of these withholds segments for."""
    mask = 0
    for want in wants:
        mask |= want.mask
    return mask
