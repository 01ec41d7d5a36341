"""A ladder as SVG, for HTML that others write, such as pytest-html's report: it needs no style and no script.

The lines are 330 units apart. A label stands above its arrow and is wrapped to the room there; a remark stands across
the NAT's line. All text is escaped, and the drawing has its own ground, so that it is as legible on a dark page.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator

from relay.ladder.ladder import Ladder
from relay.ladder.step import Kind, Line, Step, shortened
from relay.ladder.width import wrapped
from relay.printable import escape_unprintable

_X = {Line.APP: 80, Line.NAT: 410, Line.SERVER: 740}
_NAMES = {Line.APP: "app", Line.NAT: "NAT", Line.SERVER: "server"}
_WIDTH = 820
_ROW = 15
_CELL = 8  # a character's width, at most
_GROUND, _TEXT, _MUTED = "#ffffff", "#1b1f24", "#59636e"
_COLOURS = {
    **dict.fromkeys((Kind.RST, Kind.SILENCE, Kind.LOSS, Kind.FAULT), "#c21f2b"),
    **dict.fromkeys((Kind.TOS, Kind.PROBE), "#8a5a00"),
    Kind.DATA: "#1a7037",
    Kind.GAP: _MUTED,
}


def ladder_svg(ladder: Ladder, *, most_steps: int | None = None) -> str:
    """The drawing as one element; of a ladder longer than `most_steps` the beginning and the end are shown."""
    steps = ladder.steps if most_steps is None else shortened(ladder.steps, most_steps)
    y, drawn = 0, []
    for line in wrapped(escape_unprintable(ladder.title), int(_WIDTH / _CELL) - 2):
        y += _ROW
        drawn.append(_text(_CELL, y, line, weight="600"))
    y += _ROW + 5
    drawn += [_text(_X[line], y, name, anchor="middle", weight="600") for line, name in _NAMES.items()]
    y += 8
    for step in steps:
        height = _height(step)
        drawn += _step(step, y, height)
        y += height
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" width="{_WIDTH}" height="{y + 6}"'
        f' viewBox="0 0 {_WIDTH} {y + 6}" font-family="monospace" font-size="12" aria-label="{_escaped(ladder.title)}">'
        f'<rect width="{_WIDTH}" height="{y + 6}" fill="{_GROUND}"/>{"".join(drawn)}</svg>'
    )


def _height(step: Step) -> int:
    return len(_told(step)) * _ROW + (12 if step.start is not None else 6)


def _told(step: Step) -> list[str]:
    left, right = _room(step)
    return wrapped(escape_unprintable(step.text), int((right - left - 20) / _CELL))


def _room(step: Step) -> tuple[int, int]:
    """From where to where its text may be."""
    if step.start is None or step.end is None:
        return _X[Line.APP], _X[Line.SERVER]
    left, right = sorted((_X[step.start], _X[step.end]))
    return left, right


def _step(step: Step, y: int, height: int) -> Iterator[str]:
    left, right = _room(step)
    colour, told = _COLOURS.get(step.kind, _TEXT), _told(step)
    for line, x in _X.items():
        if step.start is not None or step.kind is Kind.GAP or line is not Line.NAT:  # a remark stands across its line
            yield _line(x, y, x, y + height, _MUTED, dashed=step.kind is Kind.GAP)
    from_server = (step.start, step.end) == (Line.SERVER, Line.APP)
    for number, text in enumerate(told):
        place = (right - 10, "end") if from_server else (left + 10, "start")
        weight = "600" if step.kind is Kind.END else ""
        yield _text(place[0], y + 12 + number * _ROW, text, anchor=place[1], weight=weight, colour=colour)
    arrow_y = y + len(told) * _ROW + 5
    if step.start is not None and step.end is not None:
        yield from _arrow(_X[step.start], _X[step.end], arrow_y, colour, lost=step.lost)
    if step.at_s is not None:
        time_y = arrow_y + 4 if step.start is not None else y + 12
        at = f"{step.at_s:.3f}" if step.at_s < 10_000 else f"{step.at_s:.0f}"
        yield _text(_X[Line.APP] - 8, time_y, at, anchor="end", colour=_MUTED)


def _arrow(start: int, end: int, y: int, colour: str, *, lost: bool) -> Iterable[str]:
    way = 1 if end > start else -1
    if lost:
        x = end - way * 50
        cross = f"M{x - 5} {y - 5}l10 10M{x - 5} {y + 5}l10 -10"
        return _line(start, y, x, y, colour), f'<path d="{cross}" stroke="{colour}" fill="none"/>'
    point = f'<path d="M{end} {y}l{-way * 8} -4v8z" fill="{colour}"/>'
    return _line(start, y, end - way * 6, y, colour), point


def _line(x1: int, y1: int, x2: int, y2: int, colour: str, *, dashed: bool = False) -> str:
    dashes = ' stroke-dasharray="2 4"' if dashed else ""
    return f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" stroke="{colour}"{dashes}/>'


def _text(x: float, y: int, text: str, *, anchor: str = "start", weight: str = "", colour: str = _TEXT) -> str:
    bold = f' font-weight="{weight}"' if weight else ""
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}" fill="{colour}"{bold}>{_escaped(text)}</text>'


def _escaped(text: str) -> str:
    return html.escape(escape_unprintable(text))
