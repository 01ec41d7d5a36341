"""The probe of connections that are open at once, and that the limit of a relay comes back."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from relay.probe import Findings
from relay.probe.probes.flows import Filled, judge
from support.probing import found_through

pytestmark = pytest.mark.anyio
_SETTINGS = ("max_flows", "per", "surplus", "hold_after_fin_s", "hold_after_rst_s")


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        (Filled(64, ["silence"] * 3, others_pass=True), (64, "destination", "silence")),
        (Filled(1999, ["refused", "rst"], others_pass=False, beside=1), (2000, "relay", "refuse")),
        (Filled(64, ["silence", "refused"], others_pass=True), (64, "destination", None)),
    ],
)
def test_settings_follow_from_what_no_longer_got_through(seen: Filled, expected: tuple[Any, ...]) -> None:
    assert tuple(judge(seen).values()) == expected


@pytest.mark.system  # 4 s
async def test_a_limit_of_connections_comes_back() -> None:
    near = {"hold_after_fin_s": 65, "hold_after_rst_s": 16}
    wanted: dict[str, tuple[str, str, dict[str, Any], tuple[Any, ...]]] = {
        "gcp": ("gcp-cloud-nat", "proxy", {}, (64, "destination", "silence", 30, 0)),
        "azure": ("azure-nat-gateway", "forward", {"max_flows": 20}, (20, "destination", "silence", *near.values())),
        "docker": ("docker-desktop", "http", {"max_flows": 10}, (10, "relay", "refuse", 0, 0)),
        "none": ("transparent", "proxy", {"enabled": False}, (None,) * 5),
    }
    found: dict[str, Findings] = {}

    async def probe(case: str) -> None:
        profile, mode, settings, _ = wanted[case]
        plan = {"max_flows": 100, "patience_s": 0.05}
        idle: dict[str, Any] = {"idle_timeout": {"after_s": 60}} if case == "azure" else {}  # less than a port rests
        found[case] = await found_through(profile, mode, ["flows"], plan=plan, flow_limit=settings, **idle)

    async with anyio.create_task_group() as tasks:
        for case in wanted:
            tasks.start_soon(probe, case)
    for case, (_, _, _, expected) in wanted.items():
        values = tuple(found[case].value("flow-limit", setting) for setting in _SETTINGS)
        assert values[:3] == expected[:3], (case, found[case].notes)
        for value, wanted_s in zip(values[3:], expected[3:], strict=True):
            assert value == (wanted_s and pytest.approx(wanted_s, rel=0.1)), case
    assert "flow-limit: none up to 100 connections to one port" in found["none"].notes
