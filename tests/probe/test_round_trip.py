"""The proof of both halves: a probe through a relay finds what the relay's profile says."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from relay.config import configure
from relay.net.descriptors import raise_descriptor_limit
from relay.probe import PROBES, Findings, beyond, profile_as_toml, run_probes
from relay.probe.client.lab import Lab
from relay.probe.clock import ProbeClock
from relay.probe.findings import Finding
from relay.probe.probe import Probe
from relay.profiles import available, load_profile
from support.probing import found_through, probed
from support.round_trips import assert_ends, assert_idle, less_than_a_day

pytestmark = pytest.mark.anyio
PROFILES = [profile.name for profile in available()]
_AT_ONCE = 9  # each has about two hundred descriptors


async def test_the_same_comes_back_by_way_of_an_http_proxy() -> None:
    found = await found_through("vmware-fusion-11", "http", ["close", "tos"])
    assert_ends(found, load_profile("vmware-fusion-11"))
    found = await found_through("wsl2-mirrored", "http", ["refusal"])
    assert found.value("refusal-mapping", "refused") == "silence"
    found = await found_through("transparent", "http", ["refusal"])
    assert found.value("refusal-mapping", "enabled") is False


async def test_what_was_found_is_a_profile(tmp_path_factory: pytest.TempPathFactory) -> None:
    found = await found_through("vmware-fusion", "proxy", ["close", "tos"])
    path = tmp_path_factory.mktemp("found") / "mine.toml"
    path.write_text(profile_as_toml(found, title="Mine", date="2026", source="relay probe", versions="1"))
    profile = load_profile(str(path))
    quirks = {quirk.name: quirk for quirk in profile.quirks}
    assert quirks["tos-reset"].settings["mask"] == 0xE0
    assert quirks["tos-reset"].status == quirks["close-mapping"].status == "observed"
    assert "3 of 3" in quirks["close-mapping"].evidence[0].says


def test_what_contradicts_itself_gets_no_table_and_what_is_thin_is_assumed() -> None:
    found = Findings()
    found.agree("close-mapping", "internal_rst", ["rst", "fin", "rst"], "the server got {value} ({agreed} of {of})")
    found.agree("tos-reset", "mask", [0xE0], "reset ({agreed} of {of})")
    found.found(Finding("idle-timeout", "after_s", 350.0, "dead"))
    text = profile_as_toml(found, title='A "quoted"\nname', date="2026", source="s", versions="v")
    assert "# close-mapping.internal_rst: contradictory: the server got rst (2 of 3)" in text
    assert "[close-mapping]" not in text
    assert '[tos-reset]\nmask = 0xE0\nstatus = "assumed"' in text
    assert '[idle-timeout]\nafter_s = 350\nstatus = "observed"' in text
    assert 'title = "A \\"quoted\\"?name"' in text


def test_what_a_nearer_host_has_as_well_is_left_out() -> None:
    found = Findings()
    found.found(Finding("close-mapping", "half_close", "pass", "kept"))
    found.found(Finding("idle-timeout", "after_s", 351.0, "dead"))
    found.found(Finding("idle-timeout", "internal", "fin", "the app got fin"))
    own = beyond(found, load_profile("aws-nat-gateway"))
    assert list(own.by_setting) == [("idle-timeout", "internal")]
    assert own.notes == ["as in aws-nat-gateway, and so not this NAT's: close-mapping.half_close, idle-timeout.after_s"]


async def test_what_a_profile_says_comes_back(anyio_backend: str) -> None:
    assert await _wrong(["docker-desktop"], anyio_backend) == {}


@pytest.mark.system
@pytest.mark.timeout(300)  # on a host that is busy; else a sixth of it
async def test_every_profile_comes_back(anyio_backend: str) -> None:
    """On asyncio each one, by a proxy or a forward; on trio some, by the other way. A few at a time."""
    names = PROFILES if anyio_backend == "asyncio" else PROFILES[::4]
    wrong: dict[str, str] = {}
    for few in range(0, len(names), _AT_ONCE):
        wrong |= await _wrong(names[few : few + _AT_ONCE], anyio_backend)
    assert wrong == {}


async def _wrong(names: list[str], backend: str) -> dict[str, str]:
    """What does not come back, by profile, of those that are probed at once."""
    raise_descriptor_limit()
    wrong: dict[str, str] = {}
    async with anyio.create_task_group() as tasks:
        for name in names:
            tasks.start_soon(_check_profile, name, backend, wrong)
    return wrong


async def _check_profile(name: str, backend: str, wrong: dict[str, str]) -> None:
    is_proxied = (PROFILES.index(name) % 2 == 0) is (backend == "asyncio")
    given_ = less_than_a_day(name)
    profile = configure(name, listen=None, has_guests=True, settings=_spelt(given_)).profile
    probes = ["close", "tos", "idle", "idle-refresh"]
    found = await found_through(name, "proxy" if is_proxied else "forward", probes, **given_)
    try:
        assert_ends(found, profile)
        assert_idle(found, profile)
    except AssertionError as error:
        wrong[name] = f"{error}\n{profile_as_toml(found, title=name, date='', source='', versions='')}"


def _spelt(settings: dict[str, Any]) -> list[str]:
    return [
        f"{behaviour.replace('_', '-')}.{name}={str(value).lower() if isinstance(value, bool) else value}"
        for behaviour, values in settings.items()
        for name, value in values.items()
    ]


_ANY_END = st.sampled_from(["silence", "rst-on-next", "rst", "fin"])


@pytest.mark.system
@settings(max_examples=3, suppress_health_check=list(HealthCheck))
@given(
    after_s=st.floats(30, 5000),
    internal=_ANY_END,
    external=_ANY_END,
    refreshed_by=st.sampled_from(["either", "internal", "external"]),
    counts=st.sampled_from(["data", "segments"]),
    internal_rst=st.sampled_from(["rst", "fin"]),
    external_rst=st.sampled_from(["rst", "fin"]),
    mask=st.integers(1, 63).map(lambda bits: bits << 2),
    delay_ms=st.integers(0, 2000),
)
def test_what_is_drawn_comes_back(
    after_s: float,
    internal: str,
    external: str,
    refreshed_by: str,
    counts: str,
    internal_rst: str,
    external_rst: str,
    mask: int,
    delay_ms: int,
) -> None:
    given_: dict[str, Any] = {
        "idle_timeout": {
            "after_s": after_s,
            "internal": internal,
            "external": external,
            "refreshed_by": refreshed_by,
            "counts": counts,
        },
        "close_mapping": {"internal_rst": internal_rst, "external_rst": external_rst},
        "tos_reset": {"mask": mask, "external_close_delay_ms": delay_ms},
    }

    async def probe() -> Findings:
        return await found_through("transparent", "proxy", ["close", "tos", "idle", "idle-refresh"], **given_)

    found = anyio.run(probe)
    profile = configure("transparent", listen=None, has_guests=True, settings=_spelt(given_)).profile
    assert found.value("tos-reset", "mask") == mask
    assert found.value("tos-reset", "external_close_delay_ms") == pytest.approx(delay_ms, abs=5)
    assert found.value("close-mapping", "internal_rst") == internal_rst
    assert found.value("close-mapping", "external_rst") == external_rst
    assert found.value("idle-timeout", "internal") == internal
    assert found.value("idle-timeout", "external") == external
    assert after_s * 0.999 <= found.value("idle-timeout", "after_s") <= after_s * 1.15
    assert found.value("idle-timeout", "refreshed_by") == refreshed_by
    assert found.value("idle-timeout", "counts") == (None if refreshed_by == "external" else counts)
    assert profile.quirks


async def test_a_lifetime_comes_back() -> None:
    found = await found_through(
        "transparent", "proxy", ["lifetime"], lifetime_limit={"after_s": 600, "internal": "fin", "external": "rst"}
    )
    assert found.value("lifetime-limit", "after_s") == pytest.approx(600, rel=0.03)
    assert found.value("lifetime-limit", "internal") == "fin"
    assert found.value("lifetime-limit", "external") == "rst"


async def test_a_control_connection_that_dies_in_the_middle_costs_nothing() -> None:
    """It crosses the NAT that is measured, whose limit is shorter than the time between two pings."""
    findings, clock = Findings(), ProbeClock()

    async def rest(lab: Lab) -> None:
        await anyio.sleep(0.8)

    pause = Probe("pause", rest, lambda plan: 1.0)
    limit = {"after_s": 0.25, "counts": "data", "internal": "rst", "external": "rst"}
    async with probed("transparent", "proxy", clock=clock, time_scale=1.0, idle_timeout=limit) as (_, _, course):
        probes = [probe for probe in PROBES if probe.name == "close"]
        await run_probes(replace(course, control=None), [*probes, pause, *probes], findings, clock=clock)
    assert findings.value("close-mapping", "internal_rst") == "rst"
    assert any("control connection died" in note for note in findings.notes)
