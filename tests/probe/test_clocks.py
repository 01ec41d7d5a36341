"""Clocks that jump while a probe runs: the ends find it, and what was measured meanwhile is not sure."""

from __future__ import annotations

import time

import pytest

from relay.probe import PROBES, Findings, profile_as_toml, run_probes
from relay.probe.client.lab import Lab
from relay.probe.clock import ProbeClock
from relay.probe.findings import Finding
from relay.probe.probe import Probe
from relay.profiles import load_profile
from support.probing import found_through, probed

pytestmark = pytest.mark.anyio
_BY_S = 300.0


class Leaping(ProbeClock):
    """A clock that a test moves."""

    ahead_s = 0.0

    def now_s(self) -> float:
        return super().now_s() + self.ahead_s


@pytest.mark.parametrize("by_s", [_BY_S, -_BY_S])
async def test_a_jump_is_noted_and_what_was_found_meanwhile_is_assumed(by_s: float) -> None:
    findings, clock = Findings(), Leaping()

    async def leap(lab: Lab) -> None:
        clock.ahead_s += by_s
        lab.findings.found(Finding("idle-timeout", "after_s", 350.0, "quiet connections of 350 s died"))

    leaping = Probe("idle", leap, lambda plan: 1.0)
    closing = next(probe for probe in PROBES if probe.name == "close")
    async with probed("transparent", "proxy", clock=ProbeClock(), time_scale=1.0) as (server, _, course):
        server.clock = clock
        await run_probes(course, [closing, leaping, closing], findings, clock=ProbeClock())
    jumped = f"the clock of one end jumped by {_BY_S:.3g} s, as when a host sleeps"
    assert f"idle: {jumped}; run it again: --only idle" in findings.notes
    assert [note for note in findings.notes if note.startswith("close: ")] == []
    sure = {name: finding.is_sure for (name, _), finding in findings.by_setting.items()}
    assert sure == {"close-mapping": True, "idle-timeout": False}
    text = profile_as_toml(findings, title="x", date="", source="s", versions="")
    assert f'says = "after_s: quiet connections of 350 s died; {jumped}."' in text
    assert text.count('status = "assumed"') == 1


async def test_the_time_of_day_may_jump(monkeypatch: pytest.MonkeyPatch) -> None:
    leaps = iter(range(1_000_000))
    monkeypatch.setattr(time, "time", lambda: 1e9 * (next(leaps) % 2))
    found = await found_through("aws-nat-gateway", "proxy", ["close", "idle"])
    settings = {quirk.name: quirk.settings for quirk in load_profile("aws-nat-gateway").quirks}
    assert found.value("idle-timeout", "after_s") == pytest.approx(settings["idle-timeout"]["after_s"], rel=0.1)
    assert found.value("close-mapping", "internal_rst") == "rst"
    assert [note for note in found.notes if "jumped" in note] == []
