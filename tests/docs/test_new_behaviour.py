"""`docs/new-behaviour.md` lists every event and action there is."""

from __future__ import annotations

import dataclasses
import inspect
import re
from pathlib import Path
from types import ModuleType
from typing import Any

from relay import actions, events
from relay.actions import Action, SideAction
from relay.behaviours._api import HANDLERS
from relay.events import Event

EVENTS = "| event | its handler | what happened |\n| --- | --- | --- |\n"
ACTIONS = "| action | what it does |\n| --- | --- |\n"
PROJECT = Path(__file__).parents[2]
PAGE = (PROJECT / "docs" / "new-behaviour.md").read_text(encoding="utf-8")


def kinds_in(module: ModuleType, base: type) -> list[type]:
    """The events, or actions, in the order in which the module has them."""
    found = [value for value in vars(module).values() if isinstance(value, type) and issubclass(value, base)]
    return [kind for kind in found if kind not in {base, SideAction}]


def written(kind: Any) -> str:
    """How it is made: its name and fields, with their defaults."""
    fields = [
        field.name if field.default is dataclasses.MISSING else f"{field.name}={field.default}"
        for field in dataclasses.fields(kind)
    ]
    return f"`{kind.__name__}({', '.join(fields)})`"


def first_line(kind: type) -> str:
    return (inspect.getdoc(kind) or "").partition("\n")[0]


def test_the_page_lists_every_event_and_action_with_the_first_line_of_its_docstring() -> None:
    handlers = {event: name for name, event in HANDLERS.items()}
    events_table = EVENTS + "".join(
        f"| {written(event)} | `{handlers[event]}` | {first_line(event)} |\n" for event in kinds_in(events, Event)
    )
    actions_table = ACTIONS + "".join(
        f"| {written(action)} | {first_line(action)} |\n" for action in kinds_in(actions, Action)
    )
    tables = re.findall(r"(?:^\|.*\n)+", PAGE.partition("\n## Events and actions\n")[2], re.MULTILINE)
    assert tables == [events_table, actions_table]
