"""What the end of one side becomes on the other: `close-mapping`.

Method: a byte goes each way; then one end sends FIN or RST, and the other end notes what comes. For a half-close, the
end that got the FIN sends a byte before it sends its own: if that arrives, one direction stayed open. Each three times,
from each end.

Confidence: sure, with RST on one end and what became of it seen at both. `timed_out`, what becomes of a dead server, is
not measured.
"""

from __future__ import annotations

from relay.probe.client.lab import Lab, Trial
from relay.probe.findings import Finding
from relay.probe.plan import Plan
from relay.probe.probe import Probe
from relay.probe.protocol.steps import FIN, RST, Read, Send

_LOOK_S = 2.0  # real: how long the far end waits for an end that is passed on


async def _run(lab: Lab) -> None:
    rounds = range(lab.plan.rounds)
    internal = [how for _ in rounds if (how := await _client_resets(lab))]
    external = [how for _ in rounds if (how := await _server_resets(lab))]
    halves = [how for _ in rounds for how in (await _client_finishes(lab), await _server_finishes(lab)) if how]
    _tell(lab, "internal_rst", internal, "the app reset, and the server got {value} ({agreed} of {of})")
    _tell(lab, "external_rst", external, "the server reset, and the app got {value} ({agreed} of {of})")
    words = "after the FIN of one end the other direction was {value} ({agreed} of {of}); pass: kept, close: lost"
    _tell(lab, "half_close", halves, words)


def _tell(lab: Lab, setting: str, seen: list[str], says: str) -> None:
    strange = [how for how in seen if how not in {"rst", "fin", "pass", "close"}]
    if strange:
        lab.findings.found(
            Finding("close-mapping", setting, None, f"seen was {', '.join(seen)}", len(seen) - len(strange), len(seen))
        )
    else:
        lab.findings.agree("close-mapping", setting, seen, says)


async def _client_resets(lab: Lab) -> str:
    trial = await lab.open_greeted(Read(1, _wait_s(lab)))
    if not isinstance(trial, Trial):
        return ""
    trial.stream.reset()
    return (await trial.their_report()).end or "silence"


async def _server_resets(lab: Lab) -> str:
    trial = await lab.open_greeted(RST)
    if not isinstance(trial, Trial):
        return ""
    end = await trial.hear_out()
    trial.stream.close()
    await trial.their_report()
    return end


async def _client_finishes(lab: Lab) -> str:
    """The app's FIN first. A NAT that ends both directions answers it with its own, and the server's byte is lost."""
    trial = await lab.open_greeted(Read(1, _wait_s(lab)), Send(1), FIN)
    if not isinstance(trial, Trial):
        return ""
    trial.stream.finish()
    await trial.hear_out(1)
    got = trial.seen.count("bytes")
    await trial.hear_out()
    trial.stream.close()
    report = await trial.their_report()
    return _half(report.end, got - 1)


async def _server_finishes(lab: Lab) -> str:
    trial = await lab.open_greeted(FIN, Read(1, _wait_s(lab)))
    if not isinstance(trial, Trial):
        return ""
    end = await trial.hear_out()
    await trial.send()
    trial.stream.finish()
    report = await trial.their_report()
    trial.stream.close()
    return _half(end, report.count("bytes") - 1)


def _half(end: str, bytes_after: int) -> str:
    if end != "fin":
        return end or "silence"
    return "pass" if bytes_after > 0 else "close"


def _wait_s(lab: Lab) -> float:
    return _LOOK_S * lab.clock.scale


def _takes_s(plan: Plan) -> float:
    return 1.0 * plan.rounds


PROBE = Probe("close", _run, _takes_s)
