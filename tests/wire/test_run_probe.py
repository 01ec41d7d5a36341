"""The round trip in wire mode, by programs: `relay probe` behind `relay run` finds what the profile says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from support.behind_nat import HOST, run_inside
from support.measuring import least
from support.probe_program import probe_server
from support.programs import RELAY

pytestmark = pytest.mark.system


def run_probes(tmp_path: Path, profile: str, *probes: str, options: tuple[str, ...] = (), scale: int = 1) -> Any:
    """What probes find behind the NAT, as JSON."""
    only = [word for name in probes for word in ("--only", name)]
    times = ("--time-scale", str(scale))
    with probe_server(tmp_path) as (ports, _):
        command = [*RELAY, "probe", f"{HOST}:{ports[0]}", *only, *times, *options]
        command += ["--only-server", "--patience", "0.5", "--compare", profile, "--json"]
        done, _ = run_inside(tmp_path, command, "--profile", profile, *times, timeout_s=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def measured(tmp_path: Path, profile: str, *probes: str, options: tuple[str, ...] = (), scale: int = 1) -> Any:
    """The findings: value and the profile's own by setting."""
    findings = run_probes(tmp_path, profile, *probes, options=options, scale=scale)["findings"]
    return {f"{each['behaviour']}.{each['setting']}": (each["value"], each["profile"]) for each in findings}


def test_the_quick_probes_find_the_profile(tmp_path: Path) -> None:
    probes = ("handshake", "refusal", "close", "local-ack", "keepalive", "tos")
    found: dict[str, Any] = {}

    def late_ms() -> float:
        found.update(measured(tmp_path, "vmware-fusion", *(("tos",) if found else probes), options=("--quick",)))
        delay_ms, expected_ms = found.pop("tos-reset.external_close_delay_ms")
        return float(delay_ms - expected_ms)

    assert -40 <= least(late_ms, 40) <= 40
    assert set(found) >= {"precomplete-handshake.order", "local-keepalive.answered_by", "local-ack.acknowledged_by"}
    assert {setting for setting, (value, profile) in found.items() if value != profile} == set()


def test_an_idle_limit_is_found_with_the_nats_clock_hurried(tmp_path: Path) -> None:
    found = measured(tmp_path, "aws-nat-gateway", "idle", options=("--max-idle", "500"), scale=200)
    after_s, expected_s = found.pop("idle-timeout.after_s")
    assert expected_s <= after_s <= 1.1 * expected_s
    assert found == {
        "idle-timeout.internal": ("rst-on-next", "rst-on-next"),
        "idle-timeout.external": ("silence", "silence"),
    }


def test_a_limit_of_dials_is_found_whose_surplus_is_a_syn_without_an_answer(tmp_path: Path) -> None:
    found = run_probes(tmp_path, "podman-machine", "pending", "syn", "guess")
    values = {f"{each['behaviour']}.{each['setting']}": (each["value"], each["agrees"]) for each in found["findings"]}
    assert values == {
        "pending-limit.max_pending": (10, True),
        "pending-limit.surplus": ("silence", True),
        "pending-limit.leaks": (False, True),
    }
    assert "fits podman-machine in 3 of 3 settings" in found["notes"]
    assert any(note.startswith("the SYN arrives with MSS ") for note in found["notes"])
