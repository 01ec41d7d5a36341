"""What this host can do about each quirk of a profile: exact, approximate, or impossible.

The worst supported of a quirk's wants decides. Where connections come in by several ways, the worst way does: a front
end may show something otherwise than this host's kernel sockets do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import TypeAlias

from relay.abilities import KINDS, Want
from relay.errors import Unsupported
from relay.observe import Fidelity, Support, Survey
from relay.profiles import Profile, Quirk

WayIn: TypeAlias = Callable[[Want], Support | None]
"""A front end's `support`: how well it shows what is wanted, where that differs from what the host gives."""

_WORST_FIRST = (Fidelity.IMPOSSIBLE, Fidelity.APPROXIMATE, Fidelity.EXACT)


@dataclass(frozen=True, slots=True)
class QuirkFidelity:
    """One quirk, and how well this host can show it."""

    quirk: Quirk
    support: Support


def assess(profile: Profile, survey: Survey, ways_in: Iterable[WayIn] = ()) -> list[QuirkFidelity]:
    """Judge every quirk of the profile, for connections by these ways; without any, by what the host gives."""
    ways = tuple(ways_in) or (_by_kernel_sockets,)
    assessed = []
    for quirk in profile.quirks:
        # In the order of KINDS: of equals the first counts, and it must be the same one every time.
        wanted = sorted({replace(want, mask=0) for want in quirk.build().wants()}, key=_order)
        worst = _worst(way(want) or survey.of(want) for want in wanted for way in ways)
        assessed.append(QuirkFidelity(quirk, worst))
    return assessed


def demand_possible(assessed: Iterable[QuirkFidelity]) -> None:
    """Insist that no quirk is impossible here.

    Raises:
        Unsupported: naming the first one that is, with the remedy.
    """
    for each in assessed:
        if each.support.fidelity is Fidelity.IMPOSSIBLE:
            raise Unsupported(
                f"--strict: this host cannot show {each.quirk.name}: {each.support.how}", hint=each.support.remedy
            )


def _order(want: Want) -> tuple[int, bool]:
    return KINDS.index(want.kind), want.external


def _by_kernel_sockets(want: Want) -> None:
    return None


def _worst(supports: Iterable[Support]) -> Support:
    kernel = Support(Fidelity.EXACT, "kernel sockets", "needs nothing that a host may lack")
    return min(supports, key=lambda support: _WORST_FIRST.index(support.fidelity), default=kernel)
