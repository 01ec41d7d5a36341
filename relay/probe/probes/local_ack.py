"""Who acknowledges the app's data: `local-ack`.

Method: the server stops reading, with little room; the app sends until its kernel takes no more. Then both kernels are
asked: what the app's peer has acknowledged, and what the server's kernel has received. If the first is more, the NAT
has acknowledged what it holds.

Confidence: sure, where both ends run on Linux: other kernels do not tell what was acknowledged. How much the NAT holds
is in the evidence; as `buffer_bytes` it counts where that is less than a kernel's own buffers.
"""

from __future__ import annotations

import anyio

from relay.probe.client.lab import Lab, Trial
from relay.probe.plan import Plan
from relay.probe.probe import Probe
from relay.probe.protocol.steps import REPORT, STOP_READING, Wait

_QUIRK = "local-ack"
_FILLING_S = 1.0  # real
_LOOKS = 6
_LOOK_EVERY_S = 0.5  # real; the server looks for so much longer than the app sends, lest a busy host be late
_LATE_S = 0.1
_MOST_BYTES = 4 * 1024 * 1024
_CHUNK_BYTES = 64 * 1024
_FEW_BYTES = 2048  # less than that may be the proxy's own words


async def _run(lab: Lab) -> None:
    held: list[int | None] = []
    async with anyio.create_task_group() as tasks:
        for _ in range(lab.plan.rounds):
            tasks.start_soon(_fill, lab, held)
    if None in held:
        lab.findings.note(f"{_QUIRK}: not measured: both ends have to run on Linux")
        return
    known = [count for count in held if count is not None]
    if not known:
        return
    says = f"{{agreed}} of {{of}}: acknowledged that the server's kernel had not: {min(known)} to {max(known)} B"
    lab.findings.agree(_QUIRK, "acknowledged_by", ["nat" if count > _FEW_BYTES else "server" for count in known], says)


async def _fill(lab: Lab, held: list[int | None]) -> None:
    looks = [step for _ in range(_LOOKS) for step in (Wait(_LOOK_EVERY_S * lab.clock.scale), REPORT)]
    trial = await lab.open_greeted(STOP_READING, *looks)
    if not isinstance(trial, Trial):
        return
    with lab.clock.limit_really(_FILLING_S):
        for _ in range(_MOST_BYTES // _CHUNK_BYTES):
            await trial.send(_CHUNK_BYTES)
        await anyio.sleep_forever()
    state = trial.state()
    await lab.clock.sleep_really(_LOOK_EVERY_S + _LATE_S)  # the server has looked once more
    report = await trial.forget()
    if not state or not list(report.all("state")):
        return  # it was late: the server has ended the connection
    received = [seen.value["bytes_in"] for seen in report.all("state") if "bytes_in" in seen.value]
    acked = state.get("bytes_acked")
    held.append(None if acked is None or not received else acked - received[-1])


def _takes_s(plan: Plan) -> float:
    return _FILLING_S + 2 * _LOOK_EVERY_S


PROBE = Probe("local-ack", _run, _takes_s)
