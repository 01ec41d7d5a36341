"""What keeps a quiet connection: `idle-timeout`'s `counts`, `refreshed_by` and `half_closed_s`.

Method: with the limit that `idle` found, connections are refreshed after 0.6 of it, by a byte from the app, a byte from
the server, or keepalive probes of the app's kernel, and used at 1.2 of it: those that live were refreshed. Half-closed
ones, after the app's FIN, are left alone for ages of their own, and used by the server.

Confidence: good; three of three each. Keepalive probes are the app's alone, and take a kernel that sends one a second.
"""

from __future__ import annotations

import socket

import anyio

from relay.probe.ages import MOST_ROUNDS, Fate, between, bracket, in_words, is_narrow, spread
from relay.probe.client.lab import Lab, Trial, use_until_settled
from relay.probe.findings import Finding
from relay.probe.plan import Plan
from relay.probe.probe import Probe
from relay.probe.protocol.steps import Read, Send, Wait

_QUIRK = "idle-timeout"
_REFRESH, _USE = 0.6, 1.2  # shares of the limit
_PROBING_S = 3.2  # real: a kernel sends the first probe after 1 s; a proxy may look for one every 2 s
_HALF_CLOSED_AGES = 12
_SAME = 0.05  # within this share of the limit of whole connections, that of half-closed ones is the same


async def _run(lab: Lab) -> None:
    after_s = lab.findings.value(_QUIRK, "after_s")
    if after_s is None:
        return
    late_s = lab.findings.value(_QUIRK, "late_s", 0.0)
    lived: dict[str, list[bool]] = {"app": [], "server": [], "probes": []}
    async with anyio.create_task_group() as tasks:
        if lab.findings.value("close-mapping", "half_close", "pass") == "pass":
            tasks.start_soon(_half_closed, lab, after_s, late_s)
        if (_QUIRK, "internal") in lab.findings.by_setting:  # else what the app sends lives in any case
            for by, fates in lived.items():
                for _ in range(lab.plan.rounds):
                    tasks.start_soon(_refresh, lab, by, after_s, late_s, fates)
    _tell(lab, lived)


def _tell(lab: Lab, lived: dict[str, list[bool]]) -> None:
    if not all(lived.values()):
        return
    counted = ", ".join(f"{by} {sum(each)} of {len(each)}" for by, each in lived.items())
    says = f"lived that were refreshed by: {counted}"
    by_app, by_server = (_all(lived[by]) for by in ("app", "server"))
    words = {(True, True): "either", (True, False): "internal", (False, True): "external"}
    by = words.get((by_app, by_server)) if by_app is not None and by_server is not None else None
    lab.findings.found(Finding(_QUIRK, "refreshed_by", by, says))
    if by in {"either", "internal"}:
        probes = _all(lived["probes"])
        counts = None if probes is None else "segments" if probes else "data"
        lab.findings.found(Finding(_QUIRK, "counts", counts, says))


def _all(values: list[bool]) -> bool | None:
    """What they all say; None where they contradict each other."""
    return values[0] if len(set(values)) == 1 else None


async def _refresh(lab: Lab, by: str, after_s: float, late_s: float, lived: list[bool]) -> None:
    refresh_s, use_s = _REFRESH * after_s, _USE * after_s + late_s
    wait = Wait(refresh_s), Send(1)
    steps = (Read(1, 2 * use_s), *((Read(1, 2 * use_s),) if by == "app" else ()), Send(1))
    trial = await lab.open_quiet(*(wait if by == "server" else ()), *steps)
    if not isinstance(trial, Trial):
        return
    began_s = lab.clock.now_s()
    if by == "server":
        with lab.clock.limit(use_s):
            await trial.hear(1)
    else:
        await lab.clock.sleep(refresh_s)
        if by == "app":
            await trial.send()
        else:
            await _probe(lab, trial.stream.sock)
    await lab.clock.sleep(began_s + use_s - lab.clock.now_s())
    before = trial.seen.count("bytes")
    await trial.send()
    await trial.hear_out(1)
    lived.append(trial.seen.count("bytes") > before)
    await trial.forget()


async def _probe(lab: Lab, sock: socket.socket) -> None:
    """Have the kernel send a keepalive probe or two."""
    set_keepalive(sock, 1)
    await lab.clock.sleep_really(_PROBING_S)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 0)


def set_keepalive(sock: socket.socket, every_s: int) -> None:
    """Have the kernel probe a quiet connection so often, for a long time without an answer."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name in ("TCP_KEEPIDLE", "TCP_KEEPALIVE", "TCP_KEEPINTVL"):  # the second is macOS's name of the first
        if hasattr(socket, name):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), every_s)


async def _half_closed(lab: Lab, after_s: float, late_s: float) -> None:
    fates: list[Fate] = []
    ages = spread(lab.plan.first_age_s / 2, _USE * (after_s + late_s), _HALF_CLOSED_AGES)
    await use_until_settled(lab, _use_half_closed, ages, fates)
    lived_s, died_s = bracket(fates)
    if died_s is None:
        return
    for _ in range(MOST_ROUNDS):
        async with anyio.create_task_group() as tasks:
            for age_s in between(lived_s, died_s or 0.0, lab.plan.ages_between):
                for _ in range(lab.plan.rounds):
                    tasks.start_soon(_use_half_closed, lab, age_s, fates)
        lived_s, died_s = bracket(fates)
        if is_narrow(lived_s, died_s):
            break
    says, agreed, of = in_words(fates)
    value = died_s or 0.0
    if lived_s * (1 - _SAME) <= after_s + late_s and value * (1 + _SAME) >= after_s:
        value, agreed = 0.0, of
    says = f"half-closed: {says}"
    lab.findings.found(Finding(_QUIRK, "half_closed_s", float(f"{value:.5g}"), says, agreed, of))


async def _use_half_closed(lab: Lab, age_s: float, fates: list[Fate]) -> None:
    patience_s = lab.plan.patience_s * lab.clock.scale
    trial = await lab.open_quiet(Read(1, age_s), Wait(age_s), Send(1), Wait(patience_s))
    if not isinstance(trial, Trial):
        return
    trial.stream.finish()
    quiet_s = lab.clock.now_s()
    with lab.clock.limit(age_s + patience_s):
        await trial.hear(1)
    got = trial.seen.count("bytes") > 1
    heard = not got and bool(trial.seen.end)
    fates.append(Fate(lab.clock.now_s() - quiet_s if heard else age_s, lived=got, heard=heard))
    await trial.forget()


def _takes_s(plan: Plan) -> float:
    return 1.5 * plan.max_idle_s


PROBE = Probe("idle-refresh", _run, _takes_s, is_quick=False)
