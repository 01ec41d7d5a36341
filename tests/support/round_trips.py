"""What a probe has to find of a profile, as far as a mode can show it.

proxy     all but who acknowledges: the relay's kernel always does
forward   the kernel accepts before the relay knows: every profile is internal-first, and a refusal is a reset
wire      who acknowledges is our own TCP, always; and the host's kernel repeats a SYN that the guest has given up,
          so that lockstep looks like external-first
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
    if is_silent and shown["order"] != "internal-first":
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
