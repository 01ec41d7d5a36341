"""What `relay serve` says when it ends, and when a signal asks for it: what all flows so far come to."""

from __future__ import annotations

from collections.abc import Mapping

from relay.causes import Cause
from relay.totals import Totals

_CAUSES = frozenset(str(cause) for cause in Cause)


def describe_totals(totals: Totals) -> str:
    """One line: flows, bytes each way, what ended flows, and on how many of them each behaviour acted."""
    parts = [f"total: {_counted(totals.flows, 'flow')}"]
    if totals.open:
        parts[0] += f" ({totals.open} open)"
    parts[0] += f", {totals.bytes_out:,} B out, {totals.bytes_in:,} B in"
    if totals.ended_by:
        parts.append(f"ended by {_listed(totals.ended_by)}")
    behaviours = {name: count for name, count in totals.acted.items() if name.partition(":")[0] not in _CAUSES}
    if behaviours:
        parts.append(f"behaviours acted on flows: {_listed(behaviours)}")
    return "; ".join(parts)


def describe_dropped(dropped: Mapping[str, int]) -> str:
    """One line: how many packets of a guest's were dropped, and why."""
    return f"dropped: {_counted(sum(dropped.values()), 'packet')}: {_listed(dropped)}"


def _listed(counts: Mapping[str, int]) -> str:
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{name} {count:,}" for name, count in ordered)


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
