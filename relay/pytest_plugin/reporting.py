"""What the report of a failing test says about its relays."""

from __future__ import annotations

import shlex
from collections.abc import Generator

import pytest

from relay.pytest_plugin.serving import SERVED, Served, note_shared

SECTION = "nat_relay event log"
"""What the event log is called in a failing test's report."""

_MAX_LINES = 200  # of one relay's log in a report


def pytest_runtest_setup(item: pytest.Item) -> None:
    note_shared(item)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    served = item.stash.get(SERVED, None)
    if served and report.failed:
        report.sections.append((SECTION, "\n\n".join([*map(_told, served), _repeat_line(item)])))
    if served and call.when == "teardown":
        served.clear()  # pytest keeps every item to the end of the run, and a relay has 300 KiB
    return report


def _told(served: Served) -> str:
    """One relay's log for a report, with its end if it is long."""
    relay = served.relay
    lines = relay.log_text(since=served.first).splitlines()
    left_out = len(lines) - _MAX_LINES
    if left_out > 0:
        lines[:left_out] = [f"  ... {left_out} earlier records; nat_relay.events has them"]
    return "\n".join([f"{served.profile}, seed {relay.seed} of this relay alone (--nat-seed is the run's):", *lines])


def _repeat_line(item: pytest.Item) -> str:
    named = f'"{item.nodeid}"' if not set('"$`\\!') & set(item.nodeid) else shlex.quote(item.nodeid)
    profile = item.config.option.nat_profile
    chosen = f" --nat-profile {shlex.quote(profile)}" if profile is not None else ""
    return f"repeat with: pytest {named} --nat-seed {item.config.option.nat_seed}{chosen}"
