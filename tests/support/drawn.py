"""Ladders as text for comparison: one line a step, without times."""

from __future__ import annotations

from pathlib import Path

from relay.ladder import Kind, Ladder, Line, Step, runs_of
from relay.ladder.packets import PacketReader
from relay.log.captured import MAGIC
from relay.log.reading import RecordReader

_ARROWS = {
    (Line.APP, Line.NAT): "app > NAT",
    (Line.NAT, Line.APP): "app < NAT",
    (Line.NAT, Line.SERVER): "      NAT > server",
    (Line.SERVER, Line.NAT): "      NAT < server",
    (Line.APP, Line.SERVER): "app ------> server",
    (Line.SERVER, Line.APP): "app <------ server",
}


def shown(step: Step) -> str:
    """A step on one line; x marks what does not arrive."""
    arrow = _ARROWS[step.start, step.end] if step.start is not None and step.end is not None else "*"
    return f"{arrow}: {step.text}{' x' if step.lost else ''}"


def arrows(ladder: Ladder) -> list[str]:
    """The arrows of a ladder, without how long a handshake took."""
    steps = (step for step in ladder.steps if step.kind not in {Kind.GAP, Kind.END, Kind.NOTE})
    return [shown(step).partition(" after ")[0] for step in steps]


def ladders_of(path: Path) -> list[Ladder]:
    """The flows of a file of events, or of a capture, all of which can be read."""
    with path.open("rb") as stream:
        reader = PacketReader(stream) if stream.peek(4)[:4] == MAGIC else RecordReader(stream)
        runs = runs_of(reader)
    assert reader.problems == []
    return [ladder for run in runs for ladder in run.ladders]
