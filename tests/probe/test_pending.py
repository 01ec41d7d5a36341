"""The probe of dials that are under way at once, and that the limit of a relay comes back."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import anyio
import pytest

from relay.probe import Findings
from relay.probe.probes.pending import Blocked, had_their_turn, judge, next_syn_s
from support.probing import found_through

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        (Blocked(10, ["silence"] * 3, "abandoned"), (10, "silence", False)),
        (Blocked(10, ["silence"] * 3, "answered"), (10, "silence", False)),
        (Blocked(10, ["silence"] * 3), (10, "silence", True)),
        (Blocked(4, ["silence"] * 3, "abandoned", had_their_turn=True), (4, "wait", False)),
        (Blocked(4, ["refused", "rst", "refused"], "abandoned"), (4, "refuse", False)),
        (Blocked(4, ["refused", "silence", "refused"], "abandoned"), (4, None, False)),
    ],
)
def test_settings_follow_from_what_happened_at_the_limit(seen: Blocked, expected: tuple[Any, ...]) -> None:
    assert tuple(judge(seen).values()) == expected


def test_repeated_syns_do_not_look_like_turns() -> None:
    assert had_their_turn([7.0, 7.01, 7.02])
    assert not had_their_turn([7.0, 7.7, 8.4])
    assert not had_their_turn([7.0, 7.01])
    assert [next_syn_s(age_s) for age_s in (0.2, 3, 5, 100)] == [0.8, 4, 2, 0]


@pytest.mark.system
async def test_a_limit_of_dials_comes_back() -> None:
    wanted: dict[str, tuple[str, str, dict[str, Any], tuple[Any, ...]]] = {
        "podman": ("podman-machine", "proxy", {}, (10, "silence", False)),
        "refuse": ("transparent", "proxy", {"max_pending": 3, "surplus": "refuse"}, (3, "refuse", False)),
        "wait": ("transparent", "http", {"max_pending": 2, "surplus": "wait"}, (2, "wait", False)),
        "forward": ("podman-machine", "forward", {"max_pending": 2}, (2, "silence", False)),
        "leaks": ("podman-machine", "proxy", {"max_pending": 1, "leaks": True}, (1, "silence", True)),
        "none": ("transparent", "proxy", {"enabled": False}, (None, None, None)),
    }
    found: dict[str, Findings] = {}

    async def probe(case: str) -> None:
        profile, mode, settings, _ = wanted[case]
        plan = {"patience_s": 1.0}
        found[case] = await found_through(profile, mode, ["pending"], real=True, plan=plan, pending_limit=settings)

    async with anyio.create_task_group() as tasks:
        for case in wanted:
            tasks.start_soon(probe, case)
    for case, (_, _, _, expected) in wanted.items():
        values = tuple(found[case].value("pending-limit", name) for name in ("max_pending", "surplus", "leaks"))
        assert values == expected, (case, found[case].notes)
    assert "pending-limit: none up to 64 dials at once" in found["none"].notes


async def test_without_a_black_hole_it_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relay.probe.server.other_port.sys", SimpleNamespace(platform="darwin"))
    found = await found_through("transparent", "proxy", ["pending"], real=True)
    assert "pending-limit: not measured: the probe server refuses: a black hole needs a server on Linux" in found.notes
