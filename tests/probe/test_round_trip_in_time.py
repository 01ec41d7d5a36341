"""The round trip of what takes the kernels' own time: handshakes, refusals, acknowledgements, keepalive.

All profiles at once, for each waits most of that time. A mode shows less than a profile says: see
`support.round_trips`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import anyio
import pytest
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st

from relay.config import configure
from relay.config.options import worded_for_python
from relay.net.descriptors import raise_descriptor_limit
from relay.probe import Findings
from relay.profiles import Profile, available
from support.namespaces import in_own_network
from support.probing import found_through
from support.probing_wire import make_devices
from support.round_trips import assert_acknowledged, assert_handshake, assert_keepalive, said

pytestmark = pytest.mark.system
_MODES = {"asyncio": "proxy", "trio": "forward"}
_WAYS = ("sockets", "wire")
_AT_ONCE = 6
_PLAN = {"keepalive_watch_s": 4.5, "patience_s": 1.0}
_PROBED = {"precomplete-handshake", "refusal-mapping", "local-ack", "local-keepalive"}
Settings = Mapping[str, Mapping[str, Any]]


_DRAWN = st.fixed_dictionaries(
    {
        "precomplete_handshake": st.one_of(
            st.fixed_dictionaries({"order": st.sampled_from(["external-first", "lockstep"])}),
            st.fixed_dictionaries(
                {
                    "order": st.just("internal-first"),
                    "failed": st.sampled_from(["rst", "fin"]),
                    "dial_on": st.sampled_from(["request", "data"]),
                }
            ),
        ),
        "local_keepalive": st.one_of(  # in hurried time the NAT's own probes are as many as the app's
            st.fixed_dictionaries({"answered_by": st.just("nat"), "external_interval_s": st.integers(0, 300)}),
            st.just({"answered_by": "server", "external_interval_s": 0}),
        ),
        "local_ack": st.fixed_dictionaries({"acknowledged_by": st.sampled_from(["nat", "server"])}),
    }
)
_REFUSAL = st.fixed_dictionaries(
    {"refused": st.sampled_from(["as-is", "refused", "silence"]), "silence_s": st.floats(20, 140)}
)


@pytest.mark.parametrize("way", _WAYS)
@settings(max_examples=1, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
@given(
    drawn=st.lists(_DRAWN, min_size=_AT_ONCE, max_size=_AT_ONCE),
    refusals=st.lists(_REFUSAL, min_size=_AT_ONCE, max_size=_AT_ONCE),
)
def test_every_profile_comes_back_and_so_does_what_is_drawn(
    way: str, backend: str, drawn: list[dict[str, Any]], refusals: list[dict[str, Any]]
) -> None:
    """By sockets: on asyncio by a proxy, on trio by forwards. Of profiles that are alike one stands for all."""
    assume(len({str(each) for each in drawn}) > _AT_ONCE // 2)  # not the simplest example, in which all are the same
    given_: dict[str, Settings] = {name: {} for name in representatives()}
    for number, (settings_, refusal) in enumerate(zip(drawn, refusals, strict=True)):
        is_first = settings_["precomplete_handshake"]["order"] == "internal-first"
        given_[f"{number}"] = settings_ if is_first else {**settings_, "refusal_mapping": refusal}

    def wrong_among(settings_: Mapping[str, Settings]) -> Mapping[str, str]:
        def run() -> Mapping[str, str]:
            return anyio.run(wrong_of, settings_, _MODES[backend] if way == "sockets" else way, backend=backend)

        return run() if way == "sockets" else in_own_network(run)

    if suspect := wrong_among(given_):  # kernels' timers do not wait for a busy host: once more, with less at once
        wrong = wrong_among({name: given_[name] for name in suspect})
        assert not wrong, "\n".join(wrong.values())


def representatives() -> list[str]:
    """The shipped profiles, but of those that are the same in what is probed only one."""
    found: dict[str, str] = {}
    for profile in available():
        probed = {quirk.name: dict(quirk.settings) for quirk in profile.quirks if quirk.name in _PROBED}
        found.setdefault(repr(sorted(probed.items())), profile.name)
    return list(found.values())


async def wrong_of(given_: Mapping[str, Settings], mode: str) -> dict[str, str]:
    """Which of these do not come back, and what of them; a name that is no profile's is of `transparent`."""
    raise_descriptor_limit()
    wrong: dict[str, str] = {}
    known = {profile.name for profile in available()}
    devices = iter(make_devices(2 * len(given_)) if mode == "wire" else ())

    async def check(name: str, probes: tuple[str, ...]) -> None:
        base, settings_ = name if name in known else "transparent", given_[name]
        with worded_for_python(settings_) as spelt:
            profile = configure(base, listen=None, has_guests=True, settings=spelt).profile
        more: dict[str, Any] = {"real": hurry(profile, probes), "plan": _PLAN, **settings_}
        found = await found_through(base, next(devices, mode), probes, **more)
        try:
            assert_found(found, profile, mode, probes)
        except AssertionError as error:
            wrong[name] = f"{name} {probes}: {error}\n{settings_}\n{found.by_setting}\n{found.notes}"

    async def check_without_nat() -> None:
        found = await found_through("transparent", "direct", ["local-ack", "keepalive"], real=1.0, plan=_PLAN)
        assert found.value("local-ack", "acknowledged_by") == found.value("local-keepalive", "answered_by") == "server"

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(check_without_nat)
        for name in given_:
            tasks.start_soon(check, name, ("handshake", "refusal", "local-ack"))
            tasks.start_soon(check, name, ("keepalive",))
    return wrong


def assert_found(found: Findings, profile: Profile, mode: str, probes: tuple[str, ...]) -> None:
    if "keepalive" in probes:
        assert_keepalive(found, profile)
    else:
        assert_handshake(found, profile, mode)
        assert_acknowledged(found)


def hurry(profile: Profile, probes: tuple[str, ...]) -> float:
    """How fast the NAT's clock has to run for its own keepalive probes, or the end of its silence, to come in 2 s."""
    waits_s = 0.0
    if "keepalive" in probes:
        waits_s = said(profile, "local-keepalive", "external_interval_s")
    elif said(profile, "refusal-mapping", "refused") == "silence":
        waits_s = said(profile, "refusal-mapping", "silence_s")
    return max(1.0, waits_s / 2)
