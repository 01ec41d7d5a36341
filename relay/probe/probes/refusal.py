"""What the app hears of a connect that fails: `refusal-mapping`.

Method: connect to a port of the server that is closed, to an address that is never assigned (RFC 5737), and to a name
that does not exist (RFC 2606), and see how each fails. A closed port that stays silent is waited for up to the plan's
limit, for the silence may end.

Confidence: good for the closed port. The other two depend on the way to them: a provider that answers for such
addresses looks like a NAT that does. So what they show is a note. A NAT that accepts first hides all three: see
`handshake`.
"""

from __future__ import annotations

import anyio

from relay.address import Endpoint
from relay.probe.client.dial import Connected, Failure
from relay.probe.client.lab import Lab
from relay.probe.findings import Finding
from relay.probe.plan import Plan
from relay.probe.probe import Probe

_QUIRK = "refusal-mapping"
_NOWHERE = Endpoint("192.0.2.1", 9)
_NO_NAME = Endpoint("probe.invalid", 9)


async def _run(lab: Lab) -> None:
    if lab.findings.value("precomplete-handshake", "order") == "internal-first":
        lab.findings.note("refused connects: not seen, for the NAT accepts before it dials")
        return
    async with lab.other_port("closed", lab.plan.give_up_s + 60):
        refusals = await _dial(lab, lab.other, lab.plan.rounds)
        if all(how == "silence" for how in refusals):
            await _wait_for_end(lab)
    says = f"a connect to a closed port: {', '.join(sorted(set(refusals)))} ({{agreed}} of {{of}})"
    if set(refusals) <= {"refused", "reset"}:
        lab.findings.agree(_QUIRK, "enabled", [False] * len(refusals), says)
    else:
        lab.findings.agree(_QUIRK, "refused", [how if how == "silence" else None for how in refusals], says)
    if not lab.plan.only_server:
        for what, target in (("an address that is never assigned", _NOWHERE), ("a name that does not exist", _NO_NAME)):
            lab.findings.note(f"a connect to {what}: {', '.join(await _dial(lab, target, 1))}")


async def _dial(lab: Lab, target: Endpoint, times: int) -> list[str]:
    """How connects fail, several at once."""
    hows: list[str] = []

    async def dial() -> None:
        connected: Connected = await lab.connect(target)
        if isinstance(connected, Failure):
            hows.append(connected.how)
        else:
            connected.close()
            hows.append("success")

    async with anyio.create_task_group() as tasks:
        for _ in range(times):
            tasks.start_soon(dial)
    return hows


async def _wait_for_end(lab: Lab) -> None:
    began_s = lab.clock.now_s()
    with lab.clock.limit(lab.plan.give_up_s):
        connected = await lab.dialer.connect(lab.other, None)
        took_s = lab.clock.now_s() - began_s
        how = connected.how if isinstance(connected, Failure) else "success"
        says = f"the silence ended after {took_s:.3g} s: {how}"
        lab.findings.found(Finding(_QUIRK, "silence_s", max(1.0, float(f"{took_s:.3g}")), says, 1, 1))


def _takes_s(plan: Plan) -> float:
    return plan.patience_s * (1 if plan.only_server else 3)


PROBE = Probe("refusal", _run, _takes_s)
