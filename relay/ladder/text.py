"""A ladder as text, 80 columns wide.

    #2 ssh[6441] 127.0.0.1:40022 asks for 127.0.0.1:22 via forward

      time s app                            NAT                             server
       0.000 ├─ SYN, answered by the kernel ──▶│                                 │
       0.001 │                                 ├─ SYN ──────────────────────────▶│
             ⋮ 0.522 s, in which               ⋮                                 ⋮
             ├─ 3,489 B ───────────────────────┼────────────────────────────────▶│
       0.524 │◀──────────── RST, by tos-reset ─┤                                 │

What does not fit on an arrow stands above it. What others chose, such as names, is escaped where a terminal would obey
it, or turn it round; where the terminal has ASCII alone, all that is not ASCII is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from relay.ladder.ladder import Ladder
from relay.ladder.step import Kind, Line, Step, shortened
from relay.ladder.width import cells, padded, wrapped
from relay.printable import escape_unprintable

WIDTH = 80
_TIME = 8
_LANE = 33  # between two lines
_LEFT = " " * (_TIME + 1)
_INNER = 2 * _LANE + 1  # between the app's line and the server's

_RED, _YELLOW, _BOLD, _DIM, _PLAIN = "\x1b[31m", "\x1b[33m", "\x1b[1m", "\x1b[2m", "\x1b[0m"
_COLOURS = {
    **dict.fromkeys((Kind.RST, Kind.SILENCE, Kind.LOSS, Kind.FAULT), _RED),
    **dict.fromkeys((Kind.TOS, Kind.PROBE), _YELLOW),
    Kind.GAP: _DIM,
    Kind.END: _BOLD,
}


@dataclass(frozen=True, slots=True)
class _Glyphs:
    line: str
    across: str
    from_left: str
    from_right: str
    crossing: str
    left: str
    right: str
    lost: str
    fold: str


_UNICODE = _Glyphs("│", "─", "├", "┤", "┼", "◀", "▶", "✕", "⋮")
_ASCII = _Glyphs("|", "-", "+", "+", "+", "<", ">", "x", ":")


def takes_unicode(encoding: str | None) -> bool:
    """Whether text of this encoding can have all the lines and arrows."""
    try:
        "│─├┤┼◀▶✕⋮".encode(encoding or "ascii")
    except (LookupError, UnicodeEncodeError):
        return False
    return True


class LadderText:
    """Draws ladders as lines of text, without their ends."""

    def __init__(self, *, unicode: bool = True, colour: bool = False, most_steps: int | None = None) -> None:
        """With `most_steps`, of a longer ladder the beginning and the end are shown."""
        self._unicode = unicode
        self._glyphs = _UNICODE if unicode else _ASCII
        self._colour = colour
        self._most_steps = most_steps

    def whole(self, ladder: Ladder) -> list[str]:
        """A ladder with its head."""
        steps = ladder.steps if self._most_steps is None else shortened(ladder.steps, self._most_steps)
        return [
            *self.paragraph(ladder.title),
            "",
            f"{'time s':>{_TIME}} app{'NAT':^{2 * _LANE - 6}}server",
            *(line for step in steps for line in self._rows(step)),
        ]

    def folded(self, ladder: Ladder) -> list[str]:
        """A ladder of which the head and the end are enough."""
        return self.paragraph(ladder.summary)

    def paragraph(self, text: str) -> list[str]:
        """Text of its own, further lines indented."""
        first, *rest = wrapped(self._safe(text), WIDTH - 4)
        return [first, *(f"    {line}" for line in rest)]

    def _rows(self, step: Step) -> Iterator[str]:
        if step.kind is Kind.GAP:
            rows = self._gap(step)
        elif step.start is None or step.end is None:
            rows = self._remark(step)
        elif abs(step.start - step.end) > 1:
            rows = self._across(step, rightward=step.start < step.end)
        else:
            rows = self._arrow(step, rightward=step.start < step.end)
        time = _LEFT if step.at_s is None else f"{_time(step.at_s):>{_TIME}} "
        for number, row in enumerate(rows):
            yield f"{time if number == 0 else _LEFT}{row}"

    def _gap(self, step: Step) -> Iterator[str]:
        fold = self._glyphs.fold
        text = f" {self._safe(step.text)}"
        if cells(text) < _LANE:
            text = f"{padded(text, _LANE)}{fold}"
        yield f"{fold}{self._painted(step, padded(text, _INNER))}{fold}"

    def _remark(self, step: Step) -> Iterator[str]:
        line = self._glyphs.line
        for text in wrapped(self._safe(step.text), _INNER - 2):
            yield f"{line}{self._painted(step, padded(f' {text}', _INNER))}{line}"

    def _arrow(self, step: Step, *, rightward: bool) -> Iterator[str]:
        left = Line.APP in (step.start, step.end)
        text = self._safe(step.text)
        inner = self._inner(text, rightward=rightward, lost=step.lost)
        if inner is None:
            for line in wrapped(text, _LANE - 2):
                yield self._in_lane(step, padded(f" {line}", _LANE), left=left)
            inner = self._inner("", rightward=rightward, lost=step.lost)
        yield self._in_lane(step, inner or "", left=left, rightward=rightward)

    def _in_lane(self, step: Step, inner: str, *, left: bool, rightward: bool | None = None) -> str:
        """A row with one lane filled: with text, or with an arrow that begins at one of its lines."""
        glyphs = self._glyphs
        before = glyphs.from_left if rightward is True else glyphs.line
        after = glyphs.from_right if rightward is False else glyphs.line
        lane, empty = f"{before}{self._painted(step, inner)}{after}", " " * _LANE
        return f"{lane}{empty}{glyphs.line}" if left else f"{glyphs.line}{empty}{lane}"

    def _inner(self, text: str, *, rightward: bool, lost: bool) -> str | None:
        """An arrow's own lane, with its text; None if that has no room there."""
        glyphs = self._glyphs
        told = f"{glyphs.across} {text} " if text else ""
        least = cells(told) + 2
        if least > _LANE - (4 if lost else 0):
            return None
        if lost:
            shaft = told + glyphs.across * (_LANE - 4 - least + 1) + glyphs.lost + "    "
        else:
            shaft = told + glyphs.across * (_LANE - least + 1) + glyphs.right
        return shaft if rightward else self._mirrored(shaft, told, text)

    def _mirrored(self, shaft: str, told: str, text: str) -> str:
        """The same arrow from right to left."""
        glyphs = self._glyphs
        rest = shaft[len(told) :][::-1].replace(glyphs.right, glyphs.left)
        return f"{rest} {text} {glyphs.across}" if text else rest

    def _across(self, step: Step, *, rightward: bool) -> Iterator[str]:
        """An arrow from the app to the server, or back, through the NAT."""
        glyphs = self._glyphs
        text = self._safe(step.text)
        if cells(text) > _LANE - 4:
            for line in wrapped(text, _LANE - 2):
                yield self._in_lane(step, padded(f" {line}", _LANE), left=rightward)
            text = ""
        told = f"{glyphs.across} {text} " if text else ""
        near = told + glyphs.across * (_LANE - cells(told))
        far = glyphs.across * (_LANE - 1)
        if rightward:
            whole = f"{near}{glyphs.crossing}{far}{glyphs.right}"
            yield f"{glyphs.from_left}{self._painted(step, whole)}{glyphs.line}"
        else:
            near = glyphs.across * (_LANE - cells(told)) + (f" {text} {glyphs.across}" if text else "")
            whole = f"{glyphs.left}{far}{glyphs.crossing}{near}"
            yield f"{glyphs.line}{self._painted(step, whole)}{glyphs.from_right}"

    def _painted(self, step: Step, text: str) -> str:
        colour = _COLOURS.get(step.kind)
        return f"{colour}{text}{_PLAIN}" if self._colour and colour is not None else text

    def _safe(self, text: str) -> str:
        text = escape_unprintable(text)
        return text if self._unicode else text.encode("ascii", "backslashreplace").decode()


def _time(at_s: float) -> str:
    return next(text for form in (".3f", ".0f", ".1e", ".0e") if len(text := f"{at_s:{form}}") <= _TIME)
