"""Plays all stories, shows them, and judges whether each came out as its profile promises."""

from __future__ import annotations

import time
from contextlib import closing
from typing import TextIO

from relay.demo.play import StoryClosed, play_stories
from relay.demo.show import Screen, as_json, broken_promise
from relay.errors import RelayError, Unsupported


def run_demo(stream: TextIO, *, json: bool, colour: bool, backend: str, observer: str | None) -> None:
    """Play the stories and show them, as they happen or as one JSON object at the end.

    Raises:
        ConfigError: there is no such observer.
        Unsupported: this host cannot show one of the stories, or the observer does not work here.
        RelayError: a story did not come out as its profile promises.
    """
    began_s = time.monotonic()
    screen = Screen(stream, colour=colour) if not json else None
    closed: list[StoryClosed] = []
    if screen is not None:
        screen.introduce()
    with closing(play_stories(backend, observer)) as items:
        for item in items:
            if screen is not None:
                screen.show(item)
            if isinstance(item, StoryClosed):
                closed.append(item)
    duration_s = time.monotonic() - began_s
    if screen is not None:
        screen.conclude(closed, duration_s)
    else:
        stream.write(as_json(closed, duration_s) + "\n")
    _judge(closed)


def _judge(closed: list[StoryClosed]) -> None:
    if broken := [story for story in closed if story.broken]:
        told = "; ".join(f"{story.story.name}: {broken_promise(each)}" for story in broken for each in story.broken)
        raise RelayError(f"demo: {told}", hint="on a busy host try again; else please report it with --json")
    if missing := {story.story.name: story.obstacle for story in closed if story.obstacle is not None}:
        told = "; ".join(f"{name} is not shown: {obstacle}" for name, obstacle in missing.items())
        remedies = dict.fromkeys(obstacle.hint for obstacle in missing.values())
        raise Unsupported(f"demo: {told}", hint="; ".join(remedies))
