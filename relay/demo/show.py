"""The stories for a reader: two columns on a terminal as they happen, or one JSON object at the end.

     0.0 s It sets TOS 0x48 on its socket: precedence 2, not 0. It says "two".
     0.0 s app    hears "two"                     | ECONNRESET
     0.1 s server hears "one", "two", FIN         | hears "one", FIN 107 ms after the reset

The bar stands where the two part, as in `diff -y`; colour says nothing that the words do not.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby, zip_longest
from typing import Any, TextIO

from relay.demo.play import PROFILES, Item, Performance, Row, StoryClosed, StoryOpened
from relay.observe import Fidelity
from relay.profiles import Evidence, Quirk

WIDTH = 80
_TIME = 7  # columns: " 0.0 s "
_WHO = 7  # columns: "server "
_BAR = 3
_CELL = (WIDTH - _TIME - _WHO - _BAR) // 2
_SENTENCES = 2  # of a quirk's evidence: the strongest come first, `relay explain` has them all
_BOLD, _DIM, _RED, _GREEN, _YELLOW, _PLAIN = "\x1b[1m", "\x1b[2m", "\x1b[31m", "\x1b[32m", "\x1b[33m", "\x1b[0m"

JSON_KEYS: Mapping[str, str] = {
    "as_promised": "whether every story was shown and came out as its profiles promise",
    "duration_s": "how long it all took, in seconds",
    "stories[].name": "tos-change, dead-server or abandoned-handshake",
    "stories[].title": "what it is about",
    "stories[].moral": "what an app behind the NAT must expect",
    "stories[].quirk": "the behaviour that it shows",
    "stories[].verdict": "as-promised, broken or not-shown",
    "stories[].obstacle": "why this host cannot show it, or null",
    "stories[].remedy": "what to do about that, or null",
    "stories[].profiles[].name": "the profile, as `relay serve --profile` takes it",
    "stories[].profiles[].promised.app": "what the app must see, by the quirk's settings in the profile",
    "stories[].profiles[].promised.server": "likewise, the server",
    "stories[].profiles[].seen": "null if the story did not come to its end there",
    "stories[].profiles[].seen.app": "what the app saw",
    "stories[].profiles[].seen.server": "what the server saw",
    "stories[].profiles[].fault": "what kept it from coming to its end, or null",
    "stories[].profiles[].fidelity": "how well this host shows the quirk; null: the profile has no such quirk",
    "stories[].profiles[].how": "by what means, or in what it differs; null likewise",
    "stories[].profiles[].status": "how the quirk is known: observed, documented, reported, assumed; null likewise",
    "stories[].profiles[].evidence[].source": "a URL, or the name of a capture, a manual or an article",
    "stories[].profiles[].evidence[].says": "what the source says",
    "stories[].profiles[].evidence[].versions": "the products and years it speaks of",
    "stories[].profiles[].beats[].at_s": "seconds since the story began",
    "stories[].profiles[].beats[].who": "app or server, who sees it; empty for what is done",
    "stories[].profiles[].beats[].text": "what is done or seen",
}
"""Every key of the JSON object, by its path, and what it means; `[]` stands for each element of a list."""


class Screen:
    """Writes the stories in two columns, each row as soon as it is known."""

    def __init__(self, stream: TextIO, *, colour: bool) -> None:
        self._stream = stream
        self._colour = colour
        self._number = 0
        self._heads_due = False

    def show(self, item: Item) -> None:
        match item:
            case StoryOpened():
                self._number += 1
                self._write(self._opening(item))
            case Row():
                self._write(self._row(item))
            case StoryClosed():
                self._write(self._closing(item))

    def conclude(self, closed: Iterable[StoryClosed], duration_s: float) -> None:
        """Say how it all went."""
        verdicts = [story.verdict for story in closed]
        good, missing = verdicts.count("as-promised"), verdicts.count("not-shown")
        aside = f", {missing} not shown" if missing else ""
        said = f"{good} of {len(verdicts)} stories came out as the profiles promise{aside}; {duration_s:.1f} s."
        self._write(["", self._painted(said, _GREEN if good == len(verdicts) else _RED)])
        self._write(["Now your own app: relay serve --profile vmware-fusion"])

    def introduce(self) -> None:
        """Say what is to be seen."""
        said = (
            "The same app and the same server, through two relays at once: on the left one as plain as a kernel NAT, "
            "on the right one like VMware's. A bar between them: here the two part."
        )
        self._write(textwrap.wrap(said, WIDTH))

    def _opening(self, opened: StoryOpened) -> Iterator[str]:
        yield ""
        yield self._painted(f"{self._number}. {opened.story.name}: {opened.story.title}", _BOLD)
        self._heads_due = True

    def _row(self, row: Row) -> Iterator[str]:
        if self._heads_due:
            heads = (" " * _BAR).join(f"{name:{_CELL}}" for name in PROFILES)
            yield self._painted(f"{' ' * (_TIME + _WHO)}{heads}".rstrip(), _BOLD)
            self._heads_due = False
        first = next(timed for timed in row.beats if timed is not None)
        at = f"{max(timed.at_s for timed in row.beats if timed is not None):4.1f} s "
        if not first.beat.who:
            yield from _wrapped(first.beat.text, at)
            return
        cells = [timed.beat.text if timed is not None else "" for timed in row.beats]
        bar, colours = (" | ", (_GREEN, _RED)) if len(set(cells)) > 1 else (" " * _BAR, ("", ""))
        head = f"{at}{first.beat.who:{_WHO}}"
        for left, right in zip_longest(*(textwrap.wrap(cell, _CELL) for cell in cells), fillvalue=""):
            yield f"{head}{self._painted(f'{left:{_CELL}}', colours[0])}{bar}{self._painted(right, colours[1])}"
            head = " " * (_TIME + _WHO)

    def _closing(self, closed: StoryClosed) -> Iterator[str]:
        if closed.obstacle is not None:
            yield from self._block(f"not shown: {closed.obstacle}", _YELLOW)
            if closed.obstacle.hint:
                yield from self._block(f"remedy: {closed.obstacle.hint}", _YELLOW)
            return
        for each in closed.broken:
            yield from self._block(f"NOT AS PROMISED: {broken_promise(each)}", _RED)
        if not closed.broken:
            yield from self._block(f"As both profiles promise: {closed.story.moral}", _GREEN)
        for each in closed.performances:
            if each.support is not None and each.support.fidelity is Fidelity.APPROXIMATE:
                yield from self._block(f"approximate here in {each.name}: {each.support.how}", _YELLOW)
        quirk = closed.performances[-1].quirk
        if quirk is not None:
            yield from self._evidence(quirk.quirk)

    def _evidence(self, quirk: Quirk) -> Iterator[str]:
        yield from self._block(f"evidence for {quirk.name}, {quirk.status}:", _DIM)
        for source, told in groupby(quirk.evidence[:_SENTENCES], lambda evidence: evidence.source):
            for evidence in told:
                yield from self._block(evidence.says, _DIM, mark="- ")
            yield from self._block(source, _DIM, mark="  ")

    def _block(self, text: str, colour: str, *, mark: str = "") -> Iterator[str]:
        for line in _wrapped(text, " " * _TIME + mark):
            yield self._painted(line, colour)

    def _painted(self, text: str, colour: str) -> str:
        return f"{colour}{text}{_PLAIN}" if self._colour and colour and text.strip() else text

    def _write(self, lines: Iterable[str]) -> None:
        for line in lines:
            self._stream.write(line.rstrip() + "\n")
        self._stream.flush()


def broken_promise(performance: Performance) -> str:
    """In what a performance differs from what its profile promises."""
    seen = performance.seen if performance.seen is not None else f"no end: {performance.fault}"
    return f"{performance.name} promises {performance.promised}; seen {seen}"


def as_json(closed: Iterable[StoryClosed], duration_s: float) -> str:
    """Everything about the stories, as one object on one line; `JSON_KEYS` is its documentation."""
    stories = list(closed)
    return json.dumps(
        {
            "as_promised": all(story.verdict == "as-promised" for story in stories),
            "duration_s": round(duration_s, 3),
            "stories": [_story(story) for story in stories],
        }
    )


def _story(closed: StoryClosed) -> dict[str, Any]:
    return {
        "name": closed.story.name,
        "title": closed.story.title,
        "moral": closed.story.moral,
        "quirk": closed.story.quirk,
        "verdict": closed.verdict,
        "obstacle": str(closed.obstacle) if closed.obstacle is not None else None,
        "remedy": closed.obstacle.hint if closed.obstacle is not None else None,
        "profiles": [_performance(each) for each in closed.performances],
    }


def _performance(performance: Performance) -> dict[str, Any]:
    seen, support = performance.seen, performance.support
    quirk = performance.quirk.quirk if performance.quirk is not None else None
    return {
        "name": performance.name,
        "promised": {"app": performance.promised.app, "server": performance.promised.server},
        "seen": {"app": seen.app, "server": seen.server} if seen is not None else None,
        "fault": performance.fault or None,
        "fidelity": support.fidelity.value if support is not None else None,
        "how": support.how if support is not None else None,
        "status": quirk.status if quirk is not None else None,
        "evidence": [_evidence(each) for each in quirk.evidence] if quirk is not None else [],
        "beats": [
            {"at_s": round(timed.at_s, 3), "who": timed.beat.who, "text": timed.beat.text}
            for timed in performance.beats
        ],
    }


def _evidence(evidence: Evidence) -> dict[str, str]:
    return {"source": evidence.source, "says": evidence.says, "versions": evidence.versions}


def _wrapped(text: str, head: str) -> list[str]:
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=head,
        subsequent_indent=" " * len(head),
        break_long_words=False,
        break_on_hyphens=False,
    )
