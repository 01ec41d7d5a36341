"""Plays each story through both relays at once, in step.

    StoryOpened, Row, Row, ..., StoryClosed     and so on, for every story

A row holds the beat that each performance yielded, and is handed on as soon as the slower of them has. What this host
cannot show is not played; its `StoryClosed` comes at once, and says why and what the remedy is.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import repeat
from typing import TypeAlias

from relay.demo.stories import STORIES, Beat, Outcome, Story
from relay.errors import Unsupported
from relay.fidelity import QuirkFidelity, assess
from relay.interrupt import interrupts_held
from relay.observe import Fidelity, Support, survey
from relay.observe.providers.in_process import watching
from relay.profiles import Profile, load_profile
from relay.testing import RunningRelay, serve_in_thread

PROFILES = ("transparent", "vmware-fusion")
"""The control group, and the NAT."""


@dataclass(frozen=True, slots=True)
class TimedBeat:
    """A beat, and how long after the story's beginning it came, in seconds."""

    beat: Beat
    at_s: float


@dataclass(slots=True)
class Performance:
    """One story through one relay."""

    profile: Profile
    name: str
    """The profile's name as it was asked for."""
    promised: Outcome
    quirk: QuirkFidelity | None
    """The quirk that the story is about, if the profile has it, and how well this host can show it."""
    seen: Outcome | None = None
    """How it came out; None if it did not come to an end."""
    fault: str = ""
    """What kept it from coming to an end."""
    beats: list[TimedBeat] = field(default_factory=list)

    @property
    def support(self) -> Support | None:
        return self.quirk.support if self.quirk is not None else None


@dataclass(frozen=True, slots=True)
class StoryOpened:
    """A story begins."""

    story: Story
    performances: tuple[Performance, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """The same moment of the story in each performance; None for one that is over."""

    beats: tuple[TimedBeat | None, ...]


@dataclass(frozen=True, slots=True)
class StoryClosed:
    """A story is over, or cannot be shown."""

    story: Story
    performances: tuple[Performance, ...]
    obstacle: Unsupported | None
    """Why this host cannot show it."""

    @property
    def broken(self) -> list[Performance]:
        """The performances that did not come out as their profile promises."""
        return [] if self.obstacle is not None else [each for each in self.performances if each.seen != each.promised]

    @property
    def verdict(self) -> str:
        """`as-promised`, `broken` or `not-shown`."""
        if self.obstacle is not None:
            return "not-shown"
        return "broken" if self.broken else "as-promised"


Item: TypeAlias = StoryOpened | Row | StoryClosed


def play_stories(backend: str, observer: str | None, stories: Sequence[Story] = STORIES) -> Generator[Item, None, None]:
    """Start a relay for each profile and play the stories through them.

    Raises:
        ConfigError: there is no such observer.
        Unsupported: the observer does not work here.
    """
    profiles = [load_profile(name) for name in PROFILES]
    with ExitStack() as stack:
        stack.enter_context(watching())  # the app is of this process: where the kernel tells nothing, its sockets do
        surveyed = survey(observer)
        with interrupts_held():  # anyio waits without end for a portal whose start was interrupted
            relays = [
                stack.enter_context(serve_in_thread(profile, backend=backend, observer=observer))
                for profile in profiles
            ]
        for story in stories:
            performances = []
            for name, profile in zip(PROFILES, profiles, strict=True):
                quirk = next((each for each in assess(profile, surveyed) if each.quirk.name == story.quirk), None)
                promised = story.promise(quirk.quirk.settings if quirk is not None else None)
                performances.append(Performance(profile, name, promised, quirk))
            yield from play_story(story, relays, tuple(performances))


def play_story(
    story: Story, relays: Sequence[RunningRelay], performances: tuple[Performance, ...]
) -> Generator[Item, None, None]:
    """Play one story through these relays, one performance through each."""
    yield StoryOpened(story, performances)
    for each in performances:
        if each.support is not None and each.support.fidelity is Fidelity.IMPOSSIBLE:
            obstacle = Unsupported(f"{story.quirk} is impossible here: {each.support.how}", hint=each.support.remedy)
            yield StoryClosed(story, performances, obstacle)
            return
    with ExitStack() as stack:
        actors = [_Actor(story, relay, each) for relay, each in zip(relays, performances, strict=True)]
        for actor in actors:
            stack.callback(actor.close)
        # Left first, after Ctrl-C too: it waits for the actors, and one that still plays cannot be closed.
        pool = stack.enter_context(ThreadPoolExecutor(len(relays), "demo"))
        somebody_ended: bool | None = None
        while not all(actor.over for actor in actors):
            beats = list(pool.map(_Actor.advance, actors, repeat(somebody_ended)))
            if any(beats):
                yield Row(tuple(beats))
            somebody_ended = any(timed is None or timed.beat.final for timed in beats)
        obstacles = [actor.obstacle for actor in actors if actor.obstacle is not None]
    yield StoryClosed(story, performances, obstacles[0] if obstacles else None)


class _Actor:
    """Plays a story's script and writes down how it goes."""

    def __init__(self, story: Story, nat: RunningRelay, performance: Performance) -> None:
        self._script = story.play(nat)
        self._performance = performance
        self._began_s = time.monotonic()
        self.over = False
        self.obstacle: Unsupported | None = None

    def advance(self, somebody_ended: bool | None) -> TimedBeat | None:
        """Play up to the next beat; None if the story is over."""
        if self.over:
            return None
        self.over = True  # unless it comes to another beat
        try:
            beat = self._script.send(somebody_ended)
        except StopIteration as end:
            self._performance.seen = end.value
        except Unsupported as obstacle:
            self.obstacle = obstacle
        except OSError as fault:
            self._performance.fault = str(fault)
        else:
            self.over = False
            timed = TimedBeat(beat, time.monotonic() - self._began_s)
            self._performance.beats.append(timed)
            return timed
        return None

    def close(self) -> None:
        self._script.close()
