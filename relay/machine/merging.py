"""What stays of the behaviours' answers to one event, where they disagree."""

from __future__ import annotations

from relay.actions import AbandonDial, Action, DelayDial, Dial, Grant, Ignore, Refuse, SendFin, SendRst
from relay.machine.step import Step


def merged(steps: list[Step]) -> list[Step]:
    """Keep the stronger of what disagrees: RST over FIN, no answer over any refusal, no dial over any. A delay precedes
    its dial."""
    steps = sorted(steps, key=lambda step: not isinstance(step.action, DelayDial))
    if any(isinstance(step.action, AbandonDial) for step in steps):
        steps = [step for step in steps if not isinstance(step.action, Dial | DelayDial)]
    if any(isinstance(step.action, Ignore) for step in steps):
        steps = [step for step in steps if not isinstance(step.action, Refuse | Grant)]
    elif any(isinstance(step.action, Refuse) and step.action.instead for step in steps):
        steps = [step for step in steps if not isinstance(step.action, Refuse | Grant) or _is_instead(step.action)]
    reset = {step.action.side for step in steps if isinstance(step.action, SendRst)}
    if not reset:
        return steps
    return [step for step in steps if not (isinstance(step.action, SendFin) and step.action.side in reset)]


def _is_instead(action: Action) -> bool:
    return isinstance(action, Refuse) and action.instead
