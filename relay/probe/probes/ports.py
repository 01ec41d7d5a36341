"""Which source ports the NAT uses, and how soon it uses one again: notes, and `flow-limit`'s `hold_after_fin_s` and
`hold_after_rst_s`.

Method: quick connections one after the other, half of them ended by FIN from both ends, half by the app's RST; the
server says which port each came from. A NAT that has few ports for a host uses some of them again, and the shortest
time from a connection's end to the next from its port is an upper bound of how long ports rest.

Confidence: fair for what ports look like; a time is found only where ports are used again, and is then `assumed`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from relay.probe.client.lab import Lab, Trial
from relay.probe.findings import Finding
from relay.probe.plan import Plan
from relay.probe.probe import Probe
from relay.probe.protocol.steps import REPORT, Read, Send

_QUIRK = "flow-limit"
_MOST_OF = 0.9  # of the connections: so many show what a NAT does, though others use it meanwhile
_STEPS = range(1, 17)  # from one port to the next, where a NAT counts them up


@dataclass(frozen=True)
class Use:
    """One connection."""

    own: int
    """The port at this end."""
    seen: int
    """The port that the server saw."""
    began_s: float
    ended_s: float
    how: str
    """How it ended: `fin` or `rst`."""


def in_words(uses: Sequence[Use]) -> str:
    """What the ports look like."""
    seen = [use.seen for use in uses]
    if sum(use.own == use.seen for use in uses) >= _MOST_OF * len(uses):
        order = "as the app's own"
    elif sum(later - earlier in _STEPS for earlier, later in pairwise(seen)) >= _MOST_OF * (len(seen) - 1):
        order = "counted up"
    else:
        order = "in no order"
    distinct = len(set(seen))
    return f"{len(uses)} connections came from {distinct} ports, {min(seen)} to {max(seen)}, {order}"


def rests(uses: Sequence[Use]) -> dict[str, list[float]]:
    """The times from an end to the next use of its port, by how that end was."""
    last: dict[int, Use] = {}
    found: dict[str, list[float]] = {"fin": [], "rst": []}
    for use in uses:
        if (before := last.get(use.seen)) is not None:
            found[before.how].append(max(0.0, use.began_s - before.ended_s))
        last[use.seen] = use
    return found


async def _run(lab: Lab) -> None:
    uses: list[Use] = []
    for index in range(lab.plan.port_dials):
        use = await _use_one(lab, "rst" if index % 2 else "fin")
        if use is not None:
            uses.append(use)
    if not uses:
        lab.findings.note("source ports: not seen")
        return
    lab.findings.note(f"source ports: {in_words(uses)}")
    for how, times in rests(uses).items():
        if times:
            says = f"ports were used again {min(times):.3g} s after {how.upper()} at the soonest, {len(times)} times"
            lab.findings.found(Finding(_QUIRK, f"hold_after_{how}_s", float(f"{min(times):.3g}"), says, 1, 1))


async def _use_one(lab: Lab, how: str) -> Use | None:
    trial = await lab.open(REPORT, Send(1), Read(1, lab.plan.patience_s * lab.clock.scale))
    if not isinstance(trial, Trial):
        return None
    own = trial.stream.sock.getsockname()[1]
    await trial.hear_out(1)
    if how == "rst":
        trial.stream.reset()
    else:
        trial.stream.finish()
        await trial.hear_out()
    ended_s = lab.clock.now_s()
    report = await trial.their_report()
    seen = next((state.value["port"] for state in report.all("state") if "port" in state.value), None)
    return None if seen is None else Use(own, seen, report.began_s, ended_s, how)


def _takes_s(plan: Plan) -> float:
    return 0.1 * plan.port_dials


PROBE = Probe("ports", _run, _takes_s, is_quick=False)
