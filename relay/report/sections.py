"""What a report says of one relay's flows, as data for its page: plain values, with everything escaped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeAlias

from relay.ladder import Ladder, Run, Step
from relay.ladder.step import shortened
from relay.printable import escape_unprintable
from relay.profiles import Profile, Quirk

MOST_STEPS = 400
"""Of one ladder; of a longer one the beginning and the end are kept."""

Data: TypeAlias = dict[str, Any]


@dataclass(frozen=True)
class Section:
    """A part of a report: the flows of one run of a relay, or of one test's relay."""

    title: str
    profile: str
    """The profile's name; empty if it is not known."""
    said: Data | None
    """What the profile says, as `profile_data` has it; None if it is not known."""
    seed: int | None
    began_s: float | None
    """In seconds since 1970; None where nothing happened."""
    flows: Sequence[Data]
    outcome: str = ""
    """How the test came out; empty where it is none."""

    def as_data(self) -> Data:
        """The same as plain values."""
        at = datetime.fromtimestamp(self.began_s, UTC).isoformat(" ", "seconds") if self.began_s is not None else ""
        return {
            "title": escape_unprintable(self.title),
            "profile": escape_unprintable(self.profile),
            "seed": None if self.seed is None else str(self.seed),  # JavaScript's numbers end at 2^53
            "at": at,
            "outcome": escape_unprintable(self.outcome),
            "flows": list(self.flows),
        }


def section_of(run: Run, title: str, profile: Profile | None) -> Section:
    """The section of one run; `profile` is what it served, if that is known."""
    return Section(
        title=title,
        profile=profile.name if profile is not None else run.profile,
        said=profile_data(profile) if profile is not None else None,
        seed=run.started.get("seed"),
        began_s=run.began_s,
        flows=[flow_data(ladder, run.started_at) for ladder in run.ladders],
    )


def flow_data(ladder: Ladder, started_at: float) -> Data:
    """One flow. Times are in seconds since 1970, those of its steps since its first record."""
    out, inward = ladder.carried
    first, last = ladder.records[0], ladder.records[-1]
    opened, ended = ladder.opened, ladder.ended
    name = f"{ladder.process[1]}[{ladder.process[0]}]" if ladder.process is not None else ""
    return {
        "number": ladder.number,
        "process": escape_unprintable(name),
        "client": escape_unprintable(str(opened.get("client", ""))),
        "via": escape_unprintable(str(opened.get("via", ""))),
        "destination": escape_unprintable(ladder.destination),
        "address": escape_unprintable(ladder.address),
        "cause": escape_unprintable(ladder.cause),
        "behaviour": ladder.by_behaviour,
        "out": out,
        "in": inward,
        "from": round(first.at(started_at), 3),
        "to": round(last.at(started_at), 3),
        "duration": ended.get("duration_s"),
        "steps": [_step_data(step) for step in shortened(ladder.steps, MOST_STEPS)],
    }


def _step_data(step: Step) -> list[Any]:
    """A step in the order in which the page takes it apart; what is at the end and empty is left out."""
    at_s = None if step.at_s is None else round(step.at_s, 6)
    start, end = (None if line is None else int(line) for line in (step.start, step.end))
    label, because = escape_unprintable(step.label), escape_unprintable(step.because)
    values = [step.kind.value, at_s, label, start, end, because, 1 if step.lost else None]
    while values[-1] in (None, ""):
        values.pop()
    return values


def profile_data(profile: Profile) -> Data:
    """What a profile says of its quirks, and on what evidence."""
    return {
        "name": escape_unprintable(profile.name),
        "title": escape_unprintable(profile.title),
        "symptom": escape_unprintable(profile.symptom),
        "remedy": escape_unprintable(profile.remedy),
        "quirks": [_quirk_data(quirk) for quirk in profile.quirks],
    }


def _quirk_data(quirk: Quirk) -> Data:
    summary = (quirk.kind.__doc__ or "").strip().partition("\n")[0]
    return {
        "name": escape_unprintable(quirk.name),
        "summary": escape_unprintable(summary),
        "status": quirk.status,
        "settings": [
            *(escape_unprintable(f"{name} = {value}") for name, value in quirk.settings.items()),
            *(escape_unprintable(f"when.{name} = {value}") for name, value in quirk.when.given.items()),
        ],
        "evidence": [
            {
                "source": escape_unprintable(each.source),
                "says": escape_unprintable(each.says),
                "versions": escape_unprintable(each.versions),
            }
            for each in quirk.evidence
        ],
    }
