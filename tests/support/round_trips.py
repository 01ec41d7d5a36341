"""What a probe has to find of a profile, as far as a mode can show it.

proxy     all but who acknowledges: the relay's kernel always does
forward   the kernel accepts before the relay knows: every profile is internal-first, and a refusal is a reset
wire      who acknowledges is our own TCP, always. The host's kernel repeats a SYN that the guest has given up, so that
          lockstep looks like external-first. A silence in the place of a refusal ends with the guest's next SYN, which
          its kernel sends when it will: not in a time that is hurried
"""

from __future__ import annotations

from typing import Any

import pytest

from relay.probe import Findings
from relay.profiles import Profile


def said(profile: Profile, behaviour: str, setting: str) -> Any:
    """What a profile says about a setting; None where it has no such behaviour."""
    return next((quirk.settings[setting] for quirk in profile.quirks if quirk.name == behaviour), None)


def assert_handshake(found: Findings, profile: Profile, mode: str) -> None:
    """What was found about handshakes and refusals is what the profile says."""
    order = said(profile, "precomplete-handshake", "order")
    is_silent = said(profile, "refusal-mapping", "refused") == "silence"
    shown = {"order": order, "failed": None, "dial_on": None}
    if order == "internal-first":
        waits = said(profile, "precomplete-handshake", "dial_on") == "data"
        shown["dial_on"] = "data" if waits else None
        shown["failed"] = None if waits else said(profile, "precomplete-handshake", "failed")
    elif mode == "forward":
        shown |= {"order": "internal-first", "failed": None if is_silent else "rst"}
    elif mode == "wire":
        shown["order"] = "external-first"
    for setting, value in shown.items():
        assert found.value("precomplete-handshake", setting) == value, setting
    if shown["order"] != "internal-first":
        assert found.value("refusal-mapping", "refused") == ("silence" if is_silent else None)
        assert found.value("refusal-mapping", "enabled") == (None if is_silent else False)
    if is_silent and shown["order"] != "internal-first" and mode != "wire":
        silence_s = said(profile, "refusal-mapping", "silence_s")
        assert found.value("refusal-mapping", "silence_s") == pytest.approx(silence_s, rel=0.1)


def assert_acknowledged(found: Findings) -> None:
    """By kernel sockets and by our own TCP it is the NAT, whatever the profile wants."""
    assert found.value("local-ack", "acknowledged_by") == "nat"


def assert_keepalive(found: Findings, profile: Profile) -> None:
    """Who answers the app's probes, and how often the NAT sends some of its own."""
    for setting, nearly in (("answered_by", 0.0), ("external_interval_s", 0.2)):
        expected = said(profile, "local-keepalive", setting)
        value = found.value("local-keepalive", setting)
        assert value == (pytest.approx(expected, rel=nearly) if nearly else expected), setting


def assert_ends(found: Findings, profile: Profile) -> None:
    """What was found about ends and TOS bytes is what the profile says."""
    for setting in ("internal_rst", "external_rst", "half_close"):
        assert found.value("close-mapping", setting) == said(profile, "close-mapping", setting), setting
    assert found.value("tos-reset", "mask") == said(profile, "tos-reset", "mask")
    delay_ms: Any = said(profile, "tos-reset", "external_close_delay_ms")
    found_ms = found.value("tos-reset", "external_close_delay_ms")
    assert found_ms == (None if delay_ms is None else pytest.approx(delay_ms, abs=5))
    assert found.value("tos-reset", "enabled") == (False if delay_ms is None else None)
    assert all(finding.is_sure for (name, _), finding in found.by_setting.items() if name != "idle-timeout")


def assert_idle(found: Findings, profile: Profile) -> None:
    """What was found about idle limits is what the profile says, as nearly as ages are tried."""

    def value(setting: str) -> Any:
        return found.value("idle-timeout", setting)

    after_s: Any = said(profile, "idle-timeout", "after_s")
    if after_s is None:
        assert value("after_s") is None
        return
    assert after_s * 0.999 <= value("after_s") <= after_s * 1.1
    late_s: Any = said(profile, "idle-timeout", "late_s")
    assert value("late_s") == (pytest.approx(late_s, abs=late_s * 0.25) if late_s else None)
    for setting in ("internal", "external", "refreshed_by", "counts"):
        assert value(setting) == said(profile, "idle-timeout", setting), setting
    half_closed_s: Any = said(profile, "idle-timeout", "half_closed_s")
    if said(profile, "close-mapping", "half_close") == "pass":
        assert value("half_closed_s") == pytest.approx(half_closed_s, rel=0.08)
    silence_s = value("silence_s")
    if silence_s is not None:
        assert silence_s == pytest.approx(said(profile, "idle-timeout", "silence_s"), abs=0.1 * after_s)


def less_than_a_day(name: str) -> dict[str, Any]:
    """A limit of less than a day, beyond which a server's step does not go; and no chance."""
    if name != "kubernetes":
        return {}
    return {"idle_timeout": {"after_s": 8640, "half_closed_s": 360}, "stray_reset": {"enabled": False}}
