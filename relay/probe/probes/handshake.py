"""Which of the two handshakes completes first: `precomplete-handshake`.

Method: connect to a port of the server that is closed. If that succeeds, the NAT answers before it dials (internal-
first), and how the connection then ends is `failed`. One that does not end until it carries a byte, while another
beside it stays silent, is dialled then (`dial_on`). If the connect fails, connect to a port whose queue is full, so
that the server does not answer SYNs; give up after a second; have the server answer again. If a connection still
arrives, the NAT goes on without its initiator (external-first); if none does, the two handshakes go in lockstep.

Confidence: internal-first is sure. The other two need a server on Linux, and one more SYN of the NAT's: several seconds
go by between the last two. A NAT that answers SYNs for every address is internal-first here as well.
"""

from __future__ import annotations

import anyio

from relay.errors import RelayError
from relay.probe.client.dial import Connected, Failure
from relay.probe.client.lab import Lab, Trial
from relay.probe.plan import Plan
from relay.probe.probe import Probe
from relay.probe.stream import Stream

_QUIRK = "precomplete-handshake"
_GIVE_UP_S = 0.6  # real: before the first SYN is repeated, at 1 s
_REPEATED_S = 3.0  # real: SYNs are repeated 1 and 3 s after the first
_LOOK_EVERY_S = 0.05


async def _run(lab: Lab) -> None:
    ends: list[str] = []
    dials_on: list[str | None] = []
    async with lab.other_port("closed"):
        for _ in range(lab.plan.rounds):
            connected = await lab.connect(lab.other)
            if isinstance(connected, Stream):
                end, dial_on = await _end_of_granted(lab, connected)
                ends.append(end)
                dials_on.append(dial_on)
            elif connected.how == "reset" and lab.dialer.via is None:  # a SYN that is refused is not reset
                ends.append("rst")
    if ends:
        says = "a connect to a closed port succeeded ({agreed} of {of})"
        orders = [*["internal-first"] * len(ends), *[None] * (lab.plan.rounds - len(ends))]
        lab.findings.agree(_QUIRK, "order", orders, says)
        if set(ends) <= {"fin", "rst"}:
            lab.findings.agree(_QUIRK, "failed", ends, "then it ended by {value} ({agreed} of {of})")
        if any(dials_on):
            lab.findings.agree(_QUIRK, "dial_on", dials_on, "it ended with its first byte ({agreed} of {of})")
        elif not set(ends) <= {"fin", "rst"}:
            lab.findings.note(f"what a connect gets that succeeds before it fails: {', '.join(ends)}")
        return
    try:
        await _tell_external_first(lab)
    except RelayError as error:
        lab.findings.note(f"{_QUIRK}: external-first and lockstep cannot be told apart: {error}")


async def _end_of_granted(lab: Lab, connected: Stream) -> tuple[str, str | None]:
    """How a connection ends that was granted and goes nowhere; and `data`, if its first byte is what makes it end.

    What it gets after a byte is no `failed`: of a socket with a byte unread, a close is a RST.
    """
    other = await lab.connect(lab.other)  # as old as it, and says nothing
    trials = [Trial(lab, stream, 0) for stream in (connected, other) if isinstance(stream, Stream)]
    await _hear_out(trials)
    ended = [trial.seen.end for trial in trials]
    dial_on = None
    if not any(ended):
        await trials[0].send()
        await _hear_out(trials)
        if trials[0].seen.end and not any(trial.seen.end for trial in trials[1:]):
            dial_on = "data"
    for trial in trials:
        trial.stream.close()
    return ended[0] or "silence", dial_on


async def _hear_out(trials: list[Trial]) -> None:
    async with anyio.create_task_group() as tasks:
        for trial in trials:
            tasks.start_soon(trial.hear_out)


async def _tell_external_first(lab: Lab) -> None:
    """Several dials at once: all of them arrive in the end, or none does."""
    connected: list[Connected] = []

    async def dial() -> None:
        connected.append(await lab.connect(lab.other, within_s=_GIVE_UP_S))

    async with lab.other_port("hole"):
        async with anyio.create_task_group() as tasks:
            for _ in range(lab.plan.rounds):
                tasks.start_soon(dial)
        if streams := [each for each in connected if isinstance(each, Stream)]:
            for stream in streams:
                stream.close()
            says = "{agreed} of {of} connects succeeded that the server had not answered"
            orders: list[str | None] = ["internal-first"] * len(streams)
            orders += [None] * (len(connected) - len(streams))
            lab.findings.agree(_QUIRK, "order", orders, says)
            return
        if hows := {each.how for each in connected if isinstance(each, Failure)} - {"silence"}:
            lab.findings.note(f"{_QUIRK}: a connect to a server that does not answer is {', '.join(hows)}")
            return
        await lab.control.ask("other", **{"as": "open"}, for_s=60)
        arrived = await _arrivals(lab)
    orders = [*["external-first"] * arrived, *["lockstep"] * (lab.plan.rounds - arrived)]
    says = f"the app gave connects up that the server had not answered; of {{of}} the NAT still completed {arrived}"
    lab.findings.agree(_QUIRK, "order", orders, says)


async def _arrivals(lab: Lab) -> int:
    """How many connections arrive at the other port within the time in which a SYN is repeated."""
    arrived = 0
    with lab.clock.limit_really(_REPEATED_S):
        while arrived < lab.plan.rounds:
            arrived = min(lab.plan.rounds, (await lab.control.ask("arrivals"))["arrivals"])
            await lab.clock.sleep_really(_LOOK_EVERY_S)
    return arrived


def _takes_s(plan: Plan) -> float:
    return _GIVE_UP_S + _REPEATED_S + 1.0


PROBE = Probe("handshake", _run, _takes_s)
