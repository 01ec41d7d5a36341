"""What the report of a failing test says about its relays: ladders of the flows that are worth a look."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Generator, Iterable

import pytest

from relay.ladder import Ladder, Run, runs_of
from relay.ladder.svg import ladder_svg
from relay.ladder.text import LadderText, takes_unicode
from relay.log.memory import as_text
from relay.pytest_plugin.serving import SERVED, Served, note_shared

SECTION = "nat_relay event log"
"""What this is called in a failing test's report."""

_MOST_LADDERS = 10  # of one relay in a report
_MOST_STEPS = 60  # of a ladder
_MOST_ITEMS = 50  # of a list


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
        if item.config.pluginmanager.hasplugin("html") and item.config.getoption("htmlpath", None):
            _attach_drawings(report, served)
    if served and call.when == "teardown":
        served.clear()  # pytest keeps every item to the end of the run, and a relay has 300 KiB
    return report


def _told(served: Served) -> str:
    """One relay's part of a report: what it recorded without a flow, ladders, and the other flows in a line each."""
    relay = served.relay
    relay.await_records()
    text = LadderText(unicode=takes_unicode(getattr(sys.__stdout__, "encoding", None)), most_steps=_MOST_STEPS)
    head = [f"{served.profile}, seed {relay.seed} of this relay alone (--nat-seed is the run's):"]
    blocks = [head]
    for run in runs_of(relay.events[served.first :]):
        if run.elsewhere:
            head += _last(as_text(run.elsewhere).splitlines(), "earlier records; nat_relay.events has them")
        drawn = _drawn(run)
        blocks += map(text.whole, drawn)
        numbers = {ladder.number for ladder in drawn}
        if folded := [text.folded(ladder) for ladder in run.ladders if ladder.number not in numbers]:
            blocks.append(["other flows:", *_last(["\n".join(lines) for lines in folded], "earlier ones")])
    return "\n\n".join("\n".join(block) for block in blocks)


def _drawn(run: Run) -> list[Ladder]:
    """Those of a run's flows whose ladders are shown: before all others those that a behaviour ended."""
    worth_a_look = [ladder for ladder in run.ladders if ladder.is_remarkable]
    kept = sorted(worth_a_look, key=lambda ladder: ladder.by_behaviour)[-_MOST_LADDERS:]
    return sorted(kept, key=lambda ladder: ladder.number)


def _attach_drawings(report: pytest.TestReport, served: Iterable[Served]) -> None:
    """Have pytest-html show the same ladders as SVG, each under its flow's title."""
    from pytest_html import extras  # noqa: PLC0415 - it is installed where its option is set

    shown = list(getattr(report, "extras", []))
    for each in served:
        for run in runs_of(each.relay.events[each.first :]):
            shown += [extras.html(ladder_svg(ladder, most_steps=_MOST_STEPS)) for ladder in _drawn(run)]
    report.extras = shown  # type: ignore[attr-defined] # what pytest-html reads


def _last(items: list[str], what: str) -> list[str]:
    """The last items, below a line that counts those left out."""
    left_out = len(items) - _MOST_ITEMS
    return [f"  ... {left_out} {what}", *items[left_out:]] if left_out > 0 else items


def _repeat_line(item: pytest.Item) -> str:
    named = f'"{item.nodeid}"' if not set('"$`\\!') & set(item.nodeid) else shlex.quote(item.nodeid)
    profile = item.config.option.nat_profile
    chosen = f" --nat-profile {shlex.quote(profile)}" if profile is not None else ""
    return f"repeat with: pytest {named} --nat-seed {item.config.option.nat_seed}{chosen}"
