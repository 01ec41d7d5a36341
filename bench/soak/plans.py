"""What a flow is to do: a way in, a story, sizes and tempo, all drawn from the run's seed and the flow's number.

So the same seed and number give the same plan, whatever else ran. What the ends do, by story:

    TOGETHER          both send at once; each sends its FIN when it has said all
    INITIATOR_FIRST      the initiator says all and half-closes; only then the target speaks
    TARGET_FIRST      the other way round
    INTERNAL_RESETS   the internal side resets after `cut_bytes` of its own, while the other may still be sending
    EXTERNAL_RESETS   likewise, the external side
    TOS               TOGETHER, but after `cut_bytes` the internal side sets another TOS byte
    REFUSED           no socket listens there
    VANISHES          the initiator leaves in its handshake

`settled` resets and changes wait until all that was said before is acknowledged: then not a byte of it may be missing.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random

from relay.events import Side


class Story(enum.StrEnum):
    """What happens in a flow."""

    TOGETHER = enum.auto()
    INITIATOR_FIRST = enum.auto()
    TARGET_FIRST = enum.auto()
    INTERNAL_RESETS = enum.auto()
    EXTERNAL_RESETS = enum.auto()
    TOS = enum.auto()
    REFUSED = enum.auto()
    VANISHES = enum.auto()


WHOLE = (Story.TOGETHER, Story.INITIATOR_FIRST, Story.TARGET_FIRST)
"""The stories of flows that live to their natural end."""
RAW = ("forward", "inbound", "socks4", "socks4a", "socks5", "http-connect")
"""The ways in that carry bytes as they are."""
FRONT_ENDS = (*RAW, "http")

_FRONT_END_WEIGHTS = (3, 3, 2, 2, 4, 3, 3)
_STORY_WEIGHTS = (8, 4, 4, 4, 4, 5, 2, 2)
_SYN_TOS = (0x00, 0x00, 0x00, 0x10, 0x48, 0xB8)
_TOS = (0x00, 0x08, 0x10, 0x20, 0x48, 0x50, 0x68, 0xB8, 0xE0)  # none touches the ECN bits: those are the kernel's
_SIZES = ((1, 1), (1, 100), (100, 1 << 16), (1 << 16, 1 << 20), (1 << 20, 4 << 20), (4 << 20, 12 << 20))
_SIZE_WEIGHTS = (1, 3, 8, 4, 1, 1)  # the largest are what the relay splices
_MAX_PAUSES = 24


@dataclass(frozen=True)
class Tempo:
    """How an end sends, or receives: in what pieces, and how often it pauses for how long."""

    piece_bytes: int
    pause_every_bytes: int
    pause_s: float


@dataclass(frozen=True)
class Plan:
    """One flow's plan; whatever is by side is by the side that sends."""

    number: int
    front_end: str
    story: Story
    sizes: Mapping[Side, int]
    sending: Mapping[Side, Tempo]
    receiving: Mapping[Side, Tempo]
    cut_bytes: int
    """How much the one who acts has said before it does."""
    settled: bool
    syn_tos: int
    tos: int
    early_bytes: int
    """How much the initiator says in the same segment as its request."""
    exchanges: int
    """How many requests a plain HTTP connection carries."""
    small_buffers: bool
    leaves_at: float
    """After what part of its request an initiator that vanishes does."""
    leaves_by_rst: bool

    @property
    def initiator(self) -> Side:
        return Side.EXTERNAL if self.front_end == "inbound" else Side.INTERNAL

    @property
    def actor(self) -> Side | None:
        """Who does what the story is about, if one side does."""
        return {
            Story.INTERNAL_RESETS: Side.INTERNAL,
            Story.EXTERNAL_RESETS: Side.EXTERNAL,
            Story.TOS: Side.INTERNAL,
        }.get(self.story)

    def __str__(self) -> str:
        sizes = f"{self.sizes[Side.INTERNAL]} B out, {self.sizes[Side.EXTERNAL]} B in"
        act = f", {'settled ' if self.settled else ''}cut at {self.cut_bytes} B" if self.actor is not None else ""
        tos = f", TOS 0x{self.syn_tos:02x} to 0x{self.tos:02x}" if self.story is Story.TOS else ""
        return f"flow {self.number}: {self.story} by {self.front_end}, {sizes}{act}{tos}"


def draw(seed: int, number: int) -> Plan:
    """The plan of this number."""
    chance = Random(f"{seed}/{number}")  # noqa: S311 - meant to be repeatable
    front_end = chance.choices(FRONT_ENDS, _FRONT_END_WEIGHTS)[0]
    story = chance.choices(tuple(Story), _STORY_WEIGHTS)[0]
    sizes = {side: _draw_size(chance) for side in Side}
    initiator = Side.EXTERNAL if front_end == "inbound" else Side.INTERNAL
    actor = Side.EXTERNAL if story is Story.EXTERNAL_RESETS else Side.INTERNAL
    small_buffers = chance.random() < 0.15
    if small_buffers:
        sizes = {side: size_bytes >> 4 for side, size_bytes in sizes.items()}
    early = front_end in {"socks4", "socks4a", "socks5", "http-connect"} and chance.random() < 0.3
    early_bytes = min(sizes[initiator], chance.randint(1, 2000)) if early else 0
    cut_bytes = chance.choice((sizes[actor], chance.randint(0, sizes[actor])))
    return Plan(
        number=number,
        front_end=front_end,
        story=story,
        sizes=sizes,
        sending={side: _draw_tempo(chance, sizes[side]) for side in Side},
        receiving={side: _draw_tempo(chance, sizes[side]) for side in Side},
        cut_bytes=max(cut_bytes, early_bytes) if actor is initiator else cut_bytes,
        settled=chance.random() < 0.5,
        # An inbound flow's internal leg is dialled by the relay, whose SYNs carry no TOS.
        syn_tos=0 if front_end == "inbound" else chance.choice(_SYN_TOS),
        tos=chance.choice(_TOS),
        early_bytes=early_bytes,
        exchanges=chance.randint(1, 3) if story in WHOLE else 1,
        small_buffers=small_buffers,
        leaves_at=chance.choice((0.0, 1.0, chance.random())),
        leaves_by_rst=chance.random() < 0.5,
    )


def _draw_size(chance: Random) -> int:
    if chance.random() < 0.1:
        return 0
    return chance.randint(*chance.choices(_SIZES, _SIZE_WEIGHTS)[0])


def _draw_tempo(chance: Random, size_bytes: int) -> Tempo:
    piece_bytes = chance.choice((1 << 16, chance.randint(1000, 1 << 16), chance.randint(1, 1000)))
    pauses = chance.choice((0, chance.randint(1, _MAX_PAUSES)))
    return Tempo(
        piece_bytes=max(piece_bytes, size_bytes // 500),  # a crumb at a time only where there are few of them
        pause_every_bytes=size_bytes // pauses + 1 if pauses else size_bytes + 1,
        pause_s=chance.uniform(0, 0.03),
    )
