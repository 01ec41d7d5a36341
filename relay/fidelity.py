"""What this host can do about each quirk of a profile: exact, approximate, or impossible.

A quirk is as good as the worst supported of its wants; the words come from whatever supports that one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from relay.abilities import KINDS
from relay.errors import Unsupported
from relay.frontends.listening import FORWARDED
from relay.observe import Fidelity, Support, Survey
from relay.profiles import Profile, Quirk

_WORST_FIRST = (Fidelity.IMPOSSIBLE, Fidelity.APPROXIMATE, Fidelity.EXACT)


@dataclass(frozen=True, slots=True)
class QuirkFidelity:
    """One quirk, and how well this host can show it."""

    quirk: Quirk
    support: Support


def assess(profile: Profile, survey: Survey, *, forwards: bool = False) -> list[QuirkFidelity]:
    """Judge every quirk of the profile; `forwards` says that connections come through port forwards, too."""
    differing = FORWARDED if forwards else {}
    assessed = []
    for quirk in profile.quirks:
        wanted = {want.kind for want in quirk.build().wants()}
        # In the order of KINDS: of equals the first counts, and it must be the same one every time.
        worst = _worst(differing.get(kind) or survey.of(kind) for kind in KINDS if kind in wanted)
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


def _worst(supports: Iterable[Support]) -> Support:
    kernel = Support(Fidelity.EXACT, "kernel sockets", "needs nothing that a host may lack")
    return min(supports, key=lambda support: _WORST_FIRST.index(support.fidelity), default=kernel)
