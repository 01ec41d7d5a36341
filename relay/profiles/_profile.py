"""What a loaded profile is: quirks, each with its settings, and the evidence that a NAT really does so."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import cast

from relay.abilities import Want, tos_mask
from relay.behaviours import ALWAYS, Behaviour, Lineup, UdpTimeout, When
from relay.stack import Stack

STATUSES = ("observed", "documented", "reported", "assumed")
"""How a quirk is known, best first: seen in a trace or a controlled test; stated by the vendor, a standard or readable
source code; told by users without a trace; concluded from something else, or merely set."""

_JUST_S = 0.001  # past a limit


@dataclass(frozen=True)
class Evidence:
    """One reason to believe in a quirk."""

    source: str
    """A URL, or the name of a capture, a manual or an article."""
    says: str
    """What the source says, in our words."""
    versions: str = ""
    """The products and years it speaks of."""


@dataclass(frozen=True)
class Quirk:
    """One behaviour, as a profile sets it."""

    kind: type[Behaviour]
    settings: Mapping[str, object]
    """Every setting of the behaviour with its value, defaults included."""
    status: str
    """One of `STATUSES`."""
    evidence: tuple[Evidence, ...]
    when: When = ALWAYS
    """The connections that it is there for."""

    @property
    def name(self) -> str:
        return self.kind.name

    @cached_property
    def build(self) -> Callable[[], Behaviour]:
        """Call it for a new instance, for one flow. The settings are bound once, for that happens at every connect."""
        return partial(cast("Callable[..., Behaviour]", self.kind), **self.settings)


@dataclass(frozen=True)
class StackSettings:
    """How a profile sets the NAT's own TCP/IP toward the guest, for wire mode."""

    settings: Mapping[str, object] = field(default_factory=dict)
    """What it says, its base included; `relay.stack.Stack` has the rest."""
    status: str = "assumed"
    """One of `STATUSES`."""
    evidence: tuple[Evidence, ...] = ()

    def build(self) -> Stack:
        """The stack's settings, all of them."""
        return Stack.of(self.settings)


@dataclass(frozen=True)
class Profile:
    """A named set of quirks."""

    name: str
    """The shipped file's name without `.toml`, or a user's file as it was given."""
    title: str
    era: str
    aliases: tuple[str, ...]
    quirks: tuple[Quirk, ...]
    """The base's first, then as the profile's file names them: behaviours are asked in this order."""
    symptom: str = ""
    """What an app sees of its quirks, in a sentence or a few."""
    reproduce: str = ""
    """What a test does to see that."""
    remedy: str = ""
    """How an app is safe behind this NAT."""
    absent: tuple[Quirk, ...] = ()
    """What the NAT is known, or set, not to do (`enabled = false`), with the evidence for its absence."""
    stack: StackSettings = field(default_factory=StackSettings)
    """The table `[stack]`."""

    def behaviours(self) -> list[Behaviour]:
        """New instances of all behaviours, for one flow."""
        return [quirk.build() for quirk in self.quirks]

    @cached_property
    def lineup(self) -> Lineup:
        """What each flow's behaviours are made from."""
        quirks = self.quirks
        return Lineup([each.kind for each in quirks], [each.build for each in quirks], [each.when for each in quirks])

    @cached_property
    def datagram_lineup(self) -> Lineup:
        """The same for flows of datagrams, which no quirk is about: the stack says how long a mapping lasts."""
        return Lineup([UdpTimeout], [partial(UdpTimeout, self.stack.build().udp_idle_s)])

    @property
    def wants(self) -> tuple[Want, ...]:
        """What its behaviours want of a leg, each want once."""
        return self.lineup.wants

    @cached_property
    def idle_limit_s(self) -> float | None:
        """The longest time without traffic, in seconds, that a connection outlives; None: it outlives any."""
        return max(
            (each for behaviour in self.behaviours() if (each := behaviour.idle_limit_s()) is not None), default=None
        )

    @cached_property
    def tos_mask(self) -> int:
        """The bits of the TOS byte in which no segment may differ from its SYN before a behaviour has decided."""
        return tos_mask(self.wants)


def expires_after_s(profiles: Iterable[Profile]) -> float | None:
    """Just past the longest time without traffic that a connection of any of them outlives; None: it outlives any."""
    limits = [limit_s for profile in profiles if (limit_s := profile.idle_limit_s) is not None]
    return max(limits) + _JUST_S if limits else None
