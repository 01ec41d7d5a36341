"""Runs the probes, one after the other, and keeps what each finds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from relay.address import Endpoint
from relay.errors import RelayError
from relay.probe.client.control import open_control
from relay.probe.client.dial import Connected, Dialer
from relay.probe.client.lab import Lab
from relay.probe.client.proxy import Proxy
from relay.probe.clock import ProbeClock
from relay.probe.findings import Findings
from relay.probe.plan import Plan
from relay.probe.probe import Probe

_CONNECT_S = 10.0  # real; for the control connection


@dataclass(frozen=True, kw_only=True)
class Course:
    """Where a probe goes, and how."""

    server: Endpoint
    """The probe server, as it is reached through the NAT: its own address, or a forward's."""
    other: Endpoint | None = None
    """Its other port, likewise; None: as far from `server` as the server says."""
    control: Endpoint | None = None
    """The server by a way beside the NAT, for the control connection; None: through it."""
    via: Proxy | None = None
    """A proxy that stands for the NAT."""
    token: bytes = b""
    plan: Plan = field(default_factory=Plan)


class Progress(Protocol):
    """Hears of each probe."""

    def began(self, name: str, takes_s: float, left_s: float) -> None:
        """A probe begins, which takes about so long; `left_s` is for it and all that follow, in real seconds."""


async def run_probes(
    course: Course, probes: Sequence[Probe], findings: Findings, *, clock: ProbeClock, progress: Progress | None = None
) -> str:
    """Run the probes; what they find is in `findings` also when this raises. Returns what the server runs on.

    Raises:
        ConfigError: there is no server, or it does not take this client.
        ServerLost: it could not be reached any more.
    """
    dialer = Dialer(clock, course.via)
    beside = Dialer(clock) if course.control is not None else dialer
    place = course.control or course.server
    way = f" through the proxy {course.via.address}" if course.via is not None and course.control is None else ""

    async def dial() -> Connected:
        return await beside.connect(place, _CONNECT_S)

    with one_error():
        async with clock.beating(), open_control(dial, course.token, clock, f"{place}{way}") as control:
            apart = control.other_port - control.port
            other = course.other or Endpoint(course.server.host, course.server.port + apart)
            lab = Lab(clock, course.plan, control, dialer, course.server, other)
            lab.findings = findings
            lab.is_control_beside = course.control is not None
            control.at_end(lab.close)
            planned = [(probe, takes_s) for probe in probes if (takes_s := probe.takes_s(course.plan)) > 0]
            for index, (probe, takes_s) in enumerate(planned):
                if progress is not None:
                    left_s = sum(each for _, each in planned[index:])
                    progress.began(probe.name, takes_s / clock.scale, left_s / clock.scale)
                await control.ask("probing", name=probe.name)
                before = dict(findings.by_setting)
                try:
                    with one_error():
                        await probe.run(lab)
                except RelayError as error:
                    findings.note(f"{probe.name}: {error}")
                await control.look_at_clock()
                if control.jumped_s:
                    jumped = f"the clock of one end jumped by {control.jumped_s:.3g} s, as when a host sleeps"
                    findings.doubt(before, jumped)
                    findings.note(f"{probe.name}: {jumped}; run it again: --only {probe.name}")
                    control.jumped_s = 0.0
            if control.reconnected:
                findings.note(f"the control connection died and was made anew {control.reconnected} times")
            findings.note(f"server: {control.system}, {1000 * control.round_trip_s:.3g} ms away")
            return control.system


@contextmanager
def one_error() -> Iterator[None]:
    """Have the one error that a person can do something about leave the block, not a group of tasks' errors."""
    try:
        yield
    except BaseExceptionGroup as group:
        errors, rest = group.split(RelayError)
        if errors is None or rest is not None:
            raise
        leaf: BaseException = errors
        while isinstance(leaf, BaseExceptionGroup):
            leaf = leaf.exceptions[0]
        raise leaf from None
