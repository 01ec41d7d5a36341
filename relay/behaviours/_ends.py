"""What a side hears of its connection's end: the words that several behaviours' settings have in common."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from relay.abilities import Ability, Want
from relay.actions import Action, Close, Forget, SendRst
from relay.events import Side
from relay.settings import setting

ENDS = ("silence", "rst-on-next", "rst", "fin")


def end_setting(default: str, *, doc: str) -> Any:
    """A setting that says how one side ends."""
    return setting(default, choices=ENDS, doc=doc)


def end_in_short(how: str) -> str:
    """The word for an end in a table: `-` is nothing, `RST*` what comes in answer to the next segment."""
    return {"silence": "-", "rst-on-next": "RST*"}.get(how, how.upper())


def end(side: Side, how: str, silence_s: float) -> Action:
    """The action that ends a side so; a silence is over after `silence_s`, by RST."""
    match how:
        case "silence":
            return Forget(side, "silence", silence_s)
        case "rst-on-next":
            return Forget(side, "reset", silence_s)
        case "fin":
            return Close(side)
        case _:
            return SendRst(side)


def ends(internal: str, external: str, silence_s: float) -> Iterable[Action]:
    """The actions that end both sides, each in its way."""
    yield end(Side.INTERNAL, internal, silence_s)
    yield end(Side.EXTERNAL, external, silence_s)


def wants_of_ends(internal: str, external: str) -> Iterable[Want]:
    """The abilities that these ends take."""
    for how, is_external in ((internal, False), (external, True)):
        ability = {"silence": Ability.SILENCE, "rst-on-next": Ability.STRAY_RESET}.get(how, Ability.CLOSE)
        yield Want(ability, external=is_external)
