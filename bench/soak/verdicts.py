"""What must have come of a flow: what its ends saw, what the relay recorded, and that the two agree.

The rules that hold for every cut: the side that is left has exactly what the relay says it carried there, for a reset
or a FIN follows the bytes before it; and where the cut was `settled`, that is all that was said.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.soak.ends import End
from bench.soak.plans import WHOLE, Plan, Story
from bench.soak.subject import Tale
from bench.soak.weather import Settings
from relay.events import Side

_CARRIED = {Side.INTERNAL: "bytes_out", Side.EXTERNAL: "bytes_in"}


class Unexpected(Exception):
    """Something came of a flow that must not."""


def judge(plan: Plan, settings: Settings, ends: Mapping[Side, End], tale: Tale, *, exact: bool) -> None:
    """Judge a flow that had both its ends; `exact` says that the relay sees every change of a TOS byte exactly.

    Raises:
        Unexpected: what came of it is not what must.
    """
    ended = tale.fields("flow-ended")
    internal, external = ends[Side.INTERNAL], ends[Side.EXTERNAL]
    if plan.story in WHOLE or (plan.story is Story.TOS and not offends(plan, settings)):
        _judge_whole(plan, ends, ended)
    elif plan.story is Story.TOS:
        _equal("internal side", internal.how, "rst")
        _equal("external side", external.how, "fin")
        _ends(ended, because="tos-reset", internal=("rst", "tos-reset"), external=("fin", "tos-reset"))
        _judge_cut(plan, Side.INTERNAL, external, ended, settled=plan.settled and exact)
    elif plan.story is Story.INTERNAL_RESETS:
        _equal("external side", external.how, settings.internal_rst)
        how = (settings.internal_rst, "close-mapping")
        _ends(ended, because="internal-peer", internal=("rst", "peer"), external=how)
        _judge_cut(plan, Side.INTERNAL, external, ended, settled=plan.settled)
    else:
        _equal("internal side", internal.how, "rst")
        _ends(ended, because="external-peer", internal=("rst", "close-mapping"), external=("rst", "peer"))
        _judge_cut(plan, Side.EXTERNAL, internal, ended, settled=plan.settled)


def judge_refusal(plan: Plan, settings: Settings, outcome: str, tale: Tale) -> None:
    """Judge a flow whose destination refused: `refused` in the front end's words, or `reset`.

    Raises:
        Unexpected: what came of it is not what must.
    """
    wordless = plan.front_end in {"forward", "inbound"} or settings.order == "internal-first"
    _equal("initiator", outcome, "reset" if wordless else "refused")
    _equal("dial-failed", tale.fields("dial-failed").get("failure"), "refused")
    ended = tale.fields("flow-ended")
    _equal("because", ended["because"], "destination")
    _equal("bytes carried", (ended["bytes_out"], ended["bytes_in"]), (0, 0))


def offends(plan: Plan, settings: Settings) -> bool:
    """Whether the change of the TOS byte is one that resets."""
    return bool((plan.tos ^ plan.syn_tos) & settings.tos_mask)


def _judge_whole(plan: Plan, ends: Mapping[Side, End], ended: Mapping[str, Any]) -> None:
    for side, end in ends.items():
        _equal(f"{side.value} side", end.how, "fin")
        _equal(f"bytes to the {side.value} side", end.received_bytes, plan.sizes[side.other])
        if plan.front_end != "http":  # there the heads count, too
            _equal(_CARRIED[side.other], ended[_CARRIED[side.other]], end.received_bytes)
        _equal(f"end of the {side.value} side", ended[side.value], "fin")
    _expect(ended["because"] in {"internal-peer", "external-peer"}, f"ended by {ended['because']}")
    _equal("bytes lost", ended["bytes_lost"], 0)


def _judge_cut(plan: Plan, actor: Side, left: End, ended: Mapping[str, Any], *, settled: bool) -> None:
    if settled:
        _equal("bytes that arrived", left.received_bytes, plan.cut_bytes)
    if plan.front_end != "http":
        _equal(_CARRIED[actor], ended[_CARRIED[actor]], left.received_bytes)


def _ends(ended: Mapping[str, Any], *, because: str, internal: tuple[str, str], external: tuple[str, str]) -> None:
    _equal("because", ended["because"], because)
    for side, wanted in (("internal", internal), ("external", external)):
        _equal(f"end of the {side} side", (ended[side], ended[f"{side}_because"]), wanted)


def _equal(what: str, got: object, wanted: object) -> None:
    _expect(got == wanted, f"{what}: {got}, not {wanted}")


def _expect(holds: bool, otherwise: str) -> None:
    if not holds:
        raise Unexpected(otherwise)
