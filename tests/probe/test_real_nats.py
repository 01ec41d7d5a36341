"""`relay probe` through real NATs: what it finds is what their source and documentation say, and our profiles.

Each NAT is probed once, all at the same time. The server is a program in a network of the test's own, the client one
behind the NAT. What a profile does not take over from its NAT is listed, with what the NAT does instead.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from support.namespaces import in_own_network
from support.probe_program import probe_server
from support.programs import RELAY, clean_environment, run
from support.real_networks import Network, behind_masquerade, behind_pasta, behind_slirp4netns

pytestmark = pytest.mark.system
_TOKEN = "0123456789abcdef0123456789abcdef"
_TIMED = ("local-ack", "keepalive")
_IDLE = (("idle", "idle-refresh"),)
_FORGETS_S = 2
_NEARLY_S = 0.3
"""How nearly a NAT's limit is found: the ages that are tried differ by so much, where a host is busy."""


@dataclass(frozen=True)
class Real:
    """A real NAT, and the profile that is to be like it."""

    behind: Callable[[], AbstractContextManager[Network]]
    profile: str
    probes: tuple[tuple[str, ...], ...] = (("handshake", "refusal", "close", "tos"), _TIMED)
    """Each few by a client of their own, at the same time."""
    found: frozenset[str] = frozenset()
    """What has to be found, beside what its version does in the profile's place."""
    apart: Mapping[str, object] = field(default_factory=dict)
    """The settings that the profile does not have, and what this version of the NAT does in their place."""
    varies: frozenset[str] = frozenset()
    """Those in which this version of the NAT differs from run to run."""


_HANDSHAKES = {"precomplete-handshake.order", "tos-reset.enabled"}
_ENDS = {f"close-mapping.{setting}" for setting in ("internal_rst", "external_rst", "half_close")}
_ANSWERS = {"refusal-mapping.enabled", "local-ack.acknowledged_by", "local-keepalive.answered_by"}
_WHOLE = frozenset(_HANDSHAKES | _ENDS | _ANSWERS)

REAL: Mapping[str, Real] = {
    # On a busy host this version's app may get FIN for a server's RST: where a write meets the error, not a read.
    "slirp4netns": Real(behind_slirp4netns, "slirp", found=_WHOLE, varies=frozenset({"close-mapping.external_rst"})),
    # This version's RST for a refused connect is ignored, it answers no keepalive probe, and connects get lost. To a
    # server whose round trip is below 10 us it acknowledges by itself.
    "pasta": Real(
        behind_pasta,
        "passt",
        probes=(("handshake", "close", "tos"), _TIMED),
        found=frozenset(_HANDSHAKES | {"local-ack.acknowledged_by"}),
        varies=frozenset(_ENDS | {"local-ack.acknowledged_by"}),
    ),
    "nf_conntrack": Real(lambda: behind_masquerade({}), "transparent", found=_WHOLE),
    # The app's own segment makes a mapping again: what it hears of a forgotten one is nothing.
    "nf_conntrack that forgets": Real(
        lambda: behind_masquerade({"established": 1, "unacknowledged": 1, "close_wait": 1}),
        "kubernetes",
        _IDLE,
        frozenset({"idle-timeout.external"}),
        {"idle-timeout.after_s": pytest.approx(1, abs=_NEARLY_S), "idle-timeout.half_closed_s": 0},
    ),
    "nf_conntrack that forgets for good": Real(
        lambda: behind_masquerade({"established": _FORGETS_S, "unacknowledged": _FORGETS_S}, loose=False),
        "kubernetes",
        _IDLE,
        frozenset(f"idle-timeout.{setting}" for setting in ("internal", "external", "refreshed_by", "counts")),
        {"idle-timeout.after_s": pytest.approx(_FORGETS_S, abs=_NEARLY_S)},
    ),
}
_OPTIONS = {
    "nf_conntrack that forgets": ("--max-idle", "2"),
    "nf_conntrack that forgets for good": ("--max-idle", "4"),
}


@pytest.mark.parametrize("name", REAL)
def test_what_is_found_of_a_real_nat_is_what_its_profile_says(name: str) -> None:
    real, found = REAL[name], measured()[name]
    assert found.keys() >= real.found
    assert {setting: found[setting][0] for setting in real.apart} == real.apart
    others = {setting: each for setting, each in found.items() if setting not in {*real.apart, *real.varies}}
    assert {setting: value for setting, (value, _) in others.items()} == {
        setting: theirs for setting, (_, theirs) in others.items()
    }


@cache
def measured() -> Mapping[str, Mapping[str, tuple[Any, Any]]]:
    """What is found of each NAT, and what its profile says, by setting."""
    with ThreadPoolExecutor(len(REAL)) as threads:
        return dict(zip(REAL, threads.map(lambda name: in_own_network(lambda: probe(name)), REAL), strict=True))


def probe(name: str) -> Mapping[str, tuple[Any, Any]]:
    real = REAL[name]
    found: dict[str, Any] = {}
    with TemporaryDirectory() as folder, real.behind() as network:
        listen = "127.0.0.1:0" if real.behind is behind_slirp4netns else f"{network.host}:0"
        with probe_server(Path(folder), "--listen", listen, RELAY_PROBE_TOKEN=_TOKEN) as (ports, _):

            def run_client(probes: tuple[str, ...]) -> Any:
                only = [word for name in probes for word in ("--only", name)]
                command = [*network.inside, *RELAY, "probe", f"{network.host}:{ports[0]}", *only]
                command += ["--only-server", "--patience", "0.5", "--compare", real.profile, "--json"]
                command += _OPTIONS.get(name, ("--quick",))
                done = run(*command, env=clean_environment(RELAY_PROBE_TOKEN=_TOKEN), timeout_s=60)
                assert done.returncode == 0, done.stderr
                return json.loads(done.stdout)["findings"]

            with ThreadPoolExecutor(len(real.probes)) as clients:
                for findings in clients.map(run_client, real.probes):
                    found |= {f"{each['behaviour']}.{each['setting']}": each for each in findings}
    return {setting: (each["value"], each.get("profile")) for setting, each in found.items()}
