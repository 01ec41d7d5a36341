"""Which share of SYNs and of lookups gets lost on the way, and when they are repeated: `slow-dial`.

Method: many connects, some at a time, each until a byte of the server's is there; those that take much longer than most
had a SYN lost, or several: kernels repeat it after 1 s, 3 s, 7 s. Where the server was given by a name, that is looked
up as often, by this host's resolver or by the proxy: glibc asks again after 5 s.

Confidence: needs numbers. A share is given with the interval that holds it in 95 of 100 cases; it is `observed` if ten
were late. A name that a cache on this side of the NAT knows shows no loss.
"""

from __future__ import annotations

import math
import socket
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from statistics import median

import anyio

from relay.address import Endpoint
from relay.probe.client.lab import Lab, Trial
from relay.probe.findings import Finding
from relay.probe.plan import Plan
from relay.probe.probe import Probe
from relay.probe.protocol.steps import Send

_QUIRK = "slow-dial"
_AT_ONCE = 20
_MOST_S = 100.0
_NOISE_S = 0.25  # real: a busy host or way takes so much longer than usual
_MOST_SYNS = 6
_CLUSTER = 1.5  # times the shortest: what was lost once
_NEAR = 0.1
_ENOUGH_LATE = 10
_SIGMAS = 1.96  # 95 %


@dataclass(frozen=True)
class Losses:
    """What delays come to."""

    lost: int
    of: int
    """Of how many that were sent, those that were repeated included."""
    by_s: float
    """When the first is repeated."""
    late: int
    """How many waited."""

    @property
    def share(self) -> float:
        """Which share was lost, of those that were sent."""
        return self.lost / self.of

    @property
    def interval(self) -> tuple[float, float]:
        """Where the share is in 95 of 100 cases (Wilson)."""
        n, p, z = self.of, self.share, _SIGMAS
        centre, spread = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
        return max(0.0, (centre - spread) / (1 + z * z / n)), min(1.0, (centre + spread) / (1 + z * z / n))


def lost_syns(delays: Sequence[float], noise_s: float) -> Losses | None:
    """How many SYNs were lost: each waits twice as long as the one before. None where no connect took longer."""
    usual_s = _usual(delays)
    late = [delay_s - usual_s for delay_s in delays if delay_s > usual_s + noise_s]
    if not late:
        return None
    by_s = _first_mode(late)
    lost = sum(min(_MOST_SYNS, max(1, round(math.log2(delay_s / by_s + 1)))) for delay_s in late)
    return Losses(lost, len(delays) + lost, by_s, len(late))


def lost_lookups(delays: Sequence[float], noise_s: float, syns: Losses | None) -> Losses | None:
    """The same for lookups, which are repeated once; what lost SYNs explain is left out."""
    usual_s = _usual(delays)
    late = [delay_s - usual_s for delay_s in delays if delay_s > usual_s + noise_s]
    if syns is not None:
        explained = [syns.by_s * (2**count - 1) for count in range(1, _MOST_SYNS + 1)]
        late = [delay_s for delay_s in late if not any(math.isclose(delay_s, one, rel_tol=_NEAR) for one in explained)]
    return Losses(len(late), len(delays), _first_mode(late), len(late)) if late else None


def _usual(delays: Sequence[float]) -> float:
    """What takes no loss: a quarter of them are shorter."""
    return sorted(delays)[len(delays) // 4]


def _first_mode(late: Sequence[float]) -> float:
    shortest_s = min(late)
    return float(f"{median(delay_s for delay_s in late if delay_s <= _CLUSTER * shortest_s):.3g}")


async def _run(lab: Lab) -> None:
    noise_s = _NOISE_S * lab.clock.scale
    address = await _address(lab)
    syns = None
    if address is not None:
        delays = await _timed(lab, lambda: _connect(lab, address), lab.plan.dials)
        syns = lost_syns(delays, noise_s) if delays else None
        _tell(lab, syns, len(delays), ("syn_share", "by_s"), "connects", "SYNs")
    if lab.main.ip is not None:
        lab.findings.note(f"{_QUIRK}: lookups are not measured: SERVER is no name")
        return
    look_up = (lambda: _connect(lab, lab.main)) if lab.dialer.via is not None else (lambda: _look_up(lab))
    delays = await _timed(lab, look_up, lab.plan.lookups)
    names = lost_lookups(delays, noise_s, syns) if delays else None
    _tell(lab, names, len(delays), ("name_share", "name_by_s"), "lookups", "questions")


def _tell(lab: Lab, losses: Losses | None, count: int, settings: tuple[str, str], what: str, parts: str) -> None:
    if not count:
        lab.findings.note(f"{_QUIRK}: no {what} came about")
        return
    if losses is None:
        lab.findings.note(f"{_QUIRK}: none of {count} {what} took much longer: less than {3 / count:.1%} are")
        return
    low, high = losses.interval
    says = f"{losses.late} of {count} {what} took longer, by {losses.by_s:.3g} s at the least: "
    says += f"{losses.share:.2%} of the {parts} were lost ({low:.2%} to {high:.2%})"
    of = max(losses.late, _ENOUGH_LATE)
    for setting, value in zip(settings, (float(f"{losses.share:.3g}"), losses.by_s), strict=True):
        lab.findings.found(Finding(_QUIRK, setting, value, says, losses.late, of))


async def _address(lab: Lab) -> Endpoint | None:
    """The server by its address, so that no lookup is timed along with the SYN; None where it is not known here."""
    if lab.main.ip is not None:
        return lab.main
    with suppress(OSError), lab.clock.limit_really(lab.plan.patience_s):
        found = await anyio.getaddrinfo(lab.main.host, lab.main.port, type=socket.SOCK_STREAM)
        return Endpoint(str(found[0][4][0]), lab.main.port)
    lab.findings.note(f"{_QUIRK}: SYNs are not measured: this host does not know the address of SERVER")
    return None


async def _timed(lab: Lab, once: Callable[[], Awaitable[float | None]], count: int) -> list[float]:
    """How long it took each of so many times, some at once; without those that failed."""
    delays: list[float] = []
    left = iter(range(count))

    async def go_on() -> None:
        for _ in left:
            delay_s = await once()
            if delay_s is not None:
                delays.append(delay_s)

    async with anyio.create_task_group() as tasks:
        for _ in range(_AT_ONCE):
            tasks.start_soon(go_on)
    return delays


async def _connect(lab: Lab, target: Endpoint) -> float | None:
    took_s = None
    with lab.clock.limit(_MOST_S):
        trial = await lab.open(Send(1), target=target, within_s=math.inf)
        if not isinstance(trial, Trial):
            return None
        await trial.hear(1)
        if trial.seen.count("bytes"):
            took_s = lab.clock.now_s() - trial.dialled_s
        await trial.their_report()
    return took_s


async def _look_up(lab: Lab) -> float | None:
    began_s = lab.clock.now_s()
    with suppress(socket.gaierror), lab.clock.limit(_MOST_S):
        await anyio.getaddrinfo(lab.main.host, lab.main.port, type=socket.SOCK_STREAM)
        return lab.clock.now_s() - began_s
    return None


def _takes_s(plan: Plan) -> float:
    return 0.2 * (plan.dials + plan.lookups)


PROBE = Probe("dial-tail", _run, _takes_s, is_quick=False)
