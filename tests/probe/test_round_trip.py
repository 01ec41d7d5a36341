"""The proof of both halves: a probe through a relay finds what the relay's profile says."""

from __future__ import annotations

import pytest

from relay.probe import Findings, profile_as_toml
from relay.probe.findings import Finding
from relay.profiles import Profile, available, load_profile
from support.probing import found_through

pytestmark = pytest.mark.anyio
PROFILES = [profile.name for profile in available()]
_MODE = {name: ("proxy", "forward")[index % 2] for index, name in enumerate(PROFILES)}


def said(profile: Profile, behaviour: str, setting: str) -> object:
    """What a profile says about a setting; None where it has no such behaviour."""
    return next((quirk.settings[setting] for quirk in profile.quirks if quirk.name == behaviour), None)


@pytest.mark.parametrize("name", PROFILES)
async def test_ends_and_tos_come_back(name: str, anyio_backend: str) -> None:
    mode = _MODE[name] if anyio_backend == "asyncio" else {"proxy": "forward", "forward": "proxy"}[_MODE[name]]
    profile = load_profile(name)
    found = await found_through(name, mode, ["close", "tos"])
    for setting in ("internal_rst", "external_rst", "half_close"):
        assert found.value("close-mapping", setting) == said(profile, "close-mapping", setting), setting
    assert found.value("tos-reset", "mask") == said(profile, "tos-reset", "mask")
    delay_ms = said(profile, "tos-reset", "external_close_delay_ms")
    assert found.value("tos-reset", "external_close_delay_ms") == delay_ms
    assert found.value("tos-reset", "enabled") == (False if delay_ms is None else None)
    assert all(finding.is_sure for finding in found.by_setting.values())


@pytest.mark.parametrize("name", ["transparent", "vmware-fusion-11", "docker-published-port"])
async def test_the_order_of_handshakes_comes_back(name: str) -> None:
    profile = load_profile(name)
    found = await found_through(name, "proxy", ["handshake"])
    order = said(profile, "precomplete-handshake", "order")
    assert found.value("precomplete-handshake", "order") == order
    if order == "internal-first":
        assert found.value("precomplete-handshake", "failed") == said(profile, "precomplete-handshake", "failed")


async def test_a_forward_accepts_first_whatever_the_profile_for_the_kernel_does() -> None:
    found = await found_through("vmware-fusion", "forward", ["handshake"])
    assert found.value("precomplete-handshake", "order") == "internal-first"
    assert found.value("precomplete-handshake", "failed") == "rst"


@pytest.mark.parametrize(("name", "how"), [("transparent", "as-is"), ("wsl2-mirrored", "silence")])
async def test_what_a_refused_connect_is_comes_back(name: str, how: str) -> None:
    found = await found_through(name, "proxy", ["refusal"])
    assert found.value("refusal-mapping", "refused") == how
    silence_s = found.value("refusal-mapping", "silence_s")
    assert silence_s == (pytest.approx(130, rel=0.02) if how == "silence" else None)


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
