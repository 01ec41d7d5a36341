"""What this host cannot show exactly: a test whose verdict may depend on that says so, and so does the run's header."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence

import pytest

from relay.fidelity import QuirkFidelity, assess
from relay.observe import Fidelity, survey
from relay.observe.providers.in_process import watching
from relay.pytest_plugin.marker import MARKER, Wanted, read_markers
from relay.pytest_plugin.serving import FIXTURES, SERVED, configured
from relay.server import ways_in

SECTION = "nat_relay fidelity"
"""What it is called in a failing test's report."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    served = item.stash.get(SERVED, [])
    inexact = _inexact({each.profile: each.relay.fidelity for each in served})
    report = yield
    if inexact and report.failed:
        head = "This host shows not all of it exactly; elsewhere, or with other privileges, the test may end otherwise:"
        report.sections.append((SECTION, "\n".join([head, *inexact])))
    return report


def header(items: Sequence[pytest.Item]) -> list[str]:
    """What of the NATs that these tests ask for this host shows in some other way than theirs."""
    wanted = {repr(each): (item, each) for item in items for each in _wanted_by(item)}
    found: dict[str, list[QuirkFidelity]] = {}
    with watching():
        for item, each in wanted.values():
            try:
                config = configured(item, each, seed=0)
                assessed = assess(config.profile, survey(config.observer), ways_in(config))
            except Exception:  # noqa: S112 - the test itself says so: a wrong option, or a behaviour that breaks
                continue
            found.setdefault(config.profile.name, []).extend(assessed)
    lines = _inexact(found)
    return ["nat_relay: not exact on this host, and tests may depend on it:", *lines] if lines else []


def _wanted_by(item: pytest.Item) -> Iterable[Wanted]:
    if FIXTURES.isdisjoint(getattr(item, "fixturenames", ())):
        return
    try:
        wanted = read_markers(item) if MARKER in item.fixturenames else Wanted()  # type: ignore[attr-defined]
    except ValueError:
        return
    if hasattr(item, "callspec") and MARKER in item.callspec.params:
        wanted.profile = item.callspec.params[MARKER]
    yield wanted


def _inexact(of_profiles: dict[str, list[QuirkFidelity]]) -> list[str]:
    """One line for each quirk, with the profiles that have it."""
    profiles: dict[str, dict[str, None]] = {}
    for profile, assessed in of_profiles.items():
        for each in assessed:
            support = each.support
            if support.fidelity is not Fidelity.EXACT:
                remedy = f"; remedy: {support.remedy}" if support.remedy else ""
                line = f"{each.quirk.name} is {support.fidelity.value}: {support.how}{remedy}"
                profiles.setdefault(line, {})[profile] = None
    return [f"  {', '.join(names)}: {line}" for line, names in profiles.items()]
