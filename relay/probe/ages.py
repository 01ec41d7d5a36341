"""How old a quiet connection gets: which ages are tried, and what the observations come to.

First ages from short to long, each a share longer than the last; then some between the longest that lived and the
shortest that died. Among the second are those just beside limits that NATs are known to have, so that a common limit
is found to the second or so.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from relay.probe.findings import ENOUGH

COMMON_S = (30, 50, 60, 120, 240, 270, 300, 350, 600, 900, 1200, 1800, 3600, 7200, 7440, 14_400, 86_400, 432_000)
"""Limits that NATs, firewalls and load balancers are known to have by default."""
MOST_ROUNDS = 2
"""So often ages between two are tried."""
_NARROW = 0.9  # of the shortest age that died: one as long that lived is near enough
_ALIKE = 2 / 3  # of one lateness: as much later are others that bear it out
_BESIDE = 0.01
"""Ages are tried so much shorter and longer than a common limit, as a share of it, or by a second if that is more."""


@dataclass(frozen=True, slots=True)
class Fate:
    """One connection: how long it was quiet, and what became of it."""

    age_s: float
    lived: bool
    heard: bool = False
    """Whether the app heard of its end before it used the connection: `age_s` is then the moment itself."""
    internal: str = ""
    """What the app got, where it died: `silence`, `rst-on-next`, `rst`, `fin`; empty where that was not looked at."""
    external: str = ""
    """What the server got, likewise."""
    external_s: float = 0.0
    """When it got that, unasked, since the connection was left alone; 0 where it was in answer to its own segment."""
    error_s: float = 0.0
    """By how much `age_s` may be too long or too short, for both its ends were noted by a host that may be busy."""
    staggered: bool = False
    """Whether it began at a moment of its own, and not with others."""


def spread(first_s: float, last_s: float, count: int) -> list[float]:
    """So many ages, each the same share longer than the one before."""
    if count < 2 or last_s <= first_s:
        return [last_s]
    ratio = (last_s / first_s) ** (1 / (count - 1))
    return [first_s * ratio**index for index in range(count)]


def between(lived_s: float, died_s: float, count: int) -> list[float]:
    """So many ages between two, and the longer one itself; common limits first."""
    beside = [side for limit_s in COMMON_S for side in _sides(limit_s) if lived_s < side < died_s]
    chosen = beside[-count * 2 // 3 :] if count > 1 else []
    even = count - len(chosen)
    chosen += [lived_s + (died_s - lived_s) * (index + 1) / (even + 1) for index in range(even)]
    return sorted({*chosen, died_s})


def bracket(fates: Iterable[Fate]) -> tuple[float, float | None]:
    """The longest age that lived below all that died, and the shortest that died; 0 and None where there is none."""
    seen = list(fates)
    died_s = min((fate.age_s for fate in seen if not fate.lived), default=None)
    lived = (fate.age_s for fate in seen if fate.lived and (died_s is None or fate.age_s < died_s))
    return max(lived, default=0.0), died_s


def is_narrow(lived_s: float, died_s: float | None) -> bool:
    """Whether a limit between the two is known nearly enough."""
    return died_s is None or lived_s >= _NARROW * died_s


def at_the_limit(fates: Iterable[Fate]) -> list[Fate]:
    """Those that died as the youngest did: a NAT that is silent at its limit may send RST a while later, unasked."""
    dead = sorted((fate for fate in fates if not fate.lived), key=lambda fate: fate.age_s)
    if not dead or dead[0].heard:
        return [fate for fate in dead if fate.heard or not fate.internal]
    later_s = min((fate.age_s for fate in dead if fate.heard), default=None)
    return [fate for fate in dead if not fate.heard and (later_s is None or fate.age_s < later_s * (1 - _BESIDE))]


def lateness(heard: Iterable[Fate]) -> tuple[float, int, int]:
    """By how much a NAT that looks now and then is late, and how many of those that surely were late bear that out.

    Surely late is what began at a moment of its own, and exceeds the shortest by more than the error of both. What
    delays one connection, or all of one moment, proves nothing: the lateness is the longest to which others come near,
    so many that they are enough together; 0 where none is.
    """
    seen = sorted(heard, key=lambda fate: fate.age_s)
    if not seen:
        return 0.0, 0, 0
    first = seen[0]
    late = [
        fate.age_s - first.age_s
        for fate in reversed(seen)
        if fate.staggered and fate.age_s - first.age_s > fate.error_s + first.error_s
    ]
    for index in range(len(late) - ENOUGH + 1):
        if late[index + ENOUGH - 1] >= _ALIKE * late[index]:
            return late[index], len(late) - index, len(late)
    return 0.0, 0, len(late)


def is_settled(fates: Sequence[Fate], ages: Iterable[float]) -> bool:
    """Whether the longer ages need not be waited for: two died, and all that are shorter have been seen."""
    died = sorted(fate.age_s for fate in fates if not fate.lived)
    if len(died) < 2:
        return False
    return len(fates) >= sum(1 for age_s in ages if age_s <= died[0] * (1 + _BESIDE)) + 1


def in_words(fates: Sequence[Fate]) -> tuple[str, int, int]:
    """What was seen about the limit, and how many observations agree, of how many: at the two ages on its sides."""
    lived_s, died_s = bracket(fates)
    if died_s is None:
        return f"quiet connections of up to {lived_s:.5g} s lived", len(fates), len(fates)
    near_s = died_s * (1 + _BESIDE)
    died = [fate for fate in fates if died_s <= fate.age_s <= near_s]
    lived = [fate for fate in fates if lived_s * (1 - _BESIDE) <= fate.age_s <= lived_s]
    dead = sum(not fate.lived for fate in died)
    later = sum(fate.lived for fate in fates if fate.age_s > died_s)
    says = f"quiet connections of {lived_s:.5g} s lived ({len(lived)} of {len(lived)})" if lived else "none lived"
    says += f", of {died_s:.5g} s died ({dead} of {len(died)})"
    if later:
        says += f"; {later} that were quiet for longer lived"
    return says, dead, len(died) + later


def _sides(limit_s: float) -> tuple[float, float]:
    beside_s = max(1.0, limit_s * _BESIDE)
    return limit_s - beside_s, limit_s + beside_s
