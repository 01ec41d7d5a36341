"""Settings that contradict each other: a profile that has them is not loaded, and one line says what to do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from relay.config import configure
from relay.errors import ConfigError
from relay.profiles import Profile, adjust_profile, available, load_profile

CONFLICTS = {
    "half a connection that outlives a whole one": (
        ["idle-timeout.after_s=10", "idle-timeout.half_closed_s=10.5"],
        "idle-timeout: half_closed_s of 10.5 s is longer than after_s of 10 s: "
        "half a connection would outlive a whole one",
        "lower half_closed_s as well; 0 makes it the same as after_s",
    ),
    "a jitter of nothing": (
        ["link-down-reset.jitter_s=5"],
        "link-down-reset: jitter_s of 5 s has no effect while every_s is 0",
        "set every_s, too",
    ),
    "a dial that waits for data, before the grant": (
        ["precomplete-handshake.dial_on=data"],
        "precomplete-handshake: dial_on of data does not go with the order lockstep, "
        "in which the dial comes before the grant",
        "set order to internal-first, or dial_on to request",
    ),
    "a FIN, before the grant": (
        ["precomplete-handshake.failed=fin"],
        "precomplete-handshake: failed of fin does not go with the order lockstep: "
        "a connection that was not granted has no FIN",
        "set order to internal-first, or failed to rst",
    ),
    "a refusal after the grant": (
        ["precomplete-handshake.order=internal-first", "refusal-mapping.timed_out=silence"],
        "refusal-mapping: timed_out has no effect while precomplete-handshake.order is internal-first: "
        "the connection is granted before the dial",
        "set precomplete-handshake.failed instead, or another order",
    ),
}
AGREEMENTS = [
    ["idle-timeout.after_s=10", "idle-timeout.half_closed_s=10"],
    ["link-down-reset.jitter_s=5", "link-down-reset.every_s=1"],
    ["precomplete-handshake.order=internal-first", "precomplete-handshake.dial_on=data"],
    ["precomplete-handshake.order=internal-first", "precomplete-handshake.failed=fin"],
    ["precomplete-handshake.order=external-first", "precomplete-handshake.failed=rst"],
    ["precomplete-handshake.order=internal-first", "refusal-mapping.silence_s=5"],
    ["precomplete-handshake.order=external-first", "refusal-mapping.refused=silence"],
    ["precomplete-handshake.enabled=false", "refusal-mapping.refused=silence"],
]


@pytest.mark.parametrize("conflict", CONFLICTS)
def test_one_line_names_the_settings_and_says_what_to_do(conflict: str) -> None:
    settings, says, hint = CONFLICTS[conflict]
    loads: tuple[Callable[[], Profile], ...] = (
        lambda: load_profile("transparent", settings),
        lambda: adjust_profile(load_profile("transparent"), settings),
    )
    for load in loads:
        with pytest.raises(ConfigError) as error:
            load()
        assert str(error.value).partition(": ")[2] == says
        assert error.value.hint == hint


@pytest.mark.parametrize("settings", AGREEMENTS, ids=" ".join)
def test_what_goes_together_is_taken(settings: list[str]) -> None:
    load_profile("transparent", settings)


def test_a_profile_of_ones_own_is_named_by_its_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('title = "x"\n[idle-timeout]\nafter_s = 60\nhalf_closed_s = 900\n')
    with pytest.raises(ConfigError, match=r"mine\.toml: idle-timeout: half_closed_s of 900 s is longer than"):
        load_profile(str(path))


def test_a_limit_beyond_its_range_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"idle-timeout\.after_s=0: 0\.0 is not a number from 0\.001 to 31536000"):
        load_profile("transparent", ["idle-timeout.after_s=0"])


@pytest.mark.parametrize("name", [profile.name for profile in available()])
def test_the_short_form_of_an_idle_limit_goes_with_every_profile(name: str) -> None:
    profile = configure(load_profile(name), listen="127.0.0.1:0", idle_timeout_s=5).profile
    (idle,) = (quirk for quirk in profile.quirks if quirk.name == "idle-timeout")
    assert (idle.settings["after_s"], idle.settings["half_closed_s"]) == (5.0, 0.0)
