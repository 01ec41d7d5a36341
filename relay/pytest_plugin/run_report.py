"""`--nat-report FILE`: one HTML file for the run, with a section for each test that used a relay.

    where a test runs    its last report carries the test's sections as JSON (`_attach`), also from a worker of xdist
    where the run is     the entry module keeps them, and hands all to `write` in the end

What a profile says is sent once by each process: with the first test that has it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Generator, Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

from relay.ladder import runs_of
from relay.pytest_plugin.serving import SERVED, Served
from relay.report import Data, assembled, page_data, section_of

ATTRIBUTE = "nat_report"
"""Of a test's report, which xdist carries from a worker as it is."""

_SENT = pytest.StashKey[set[str]]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if call.when == "teardown" and (served := item.stash.get(SERVED, [])):
        _attach(report, item, served)
    return report


def _attach(report: pytest.TestReport, item: pytest.Item, served: Iterable[Served]) -> None:
    """Have a test's last report carry what its relays saw."""
    sent = item.config.stash.setdefault(_SENT, set())
    sections: list[Data] = []
    profiles: dict[str, Data] = {}
    for each in served:
        each.relay.await_records()
        for run in runs_of(each.relay.events[each.first :], each.relay.log.started_at):
            section = section_of(run, item.nodeid, each.relay.profile)
            said = section.said or {}
            key = hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()
            if key not in sent:
                sent.add(key)
                profiles[key] = said
            sections.append({**section.as_data(), "seed": str(each.relay.seed), "said": key})
    setattr(report, ATTRIBUTE, json.dumps({"sections": sections, "profiles": profiles}))


def write(path: Path, title: str, found: Iterable[str], outcomes: Mapping[str, str]) -> None:
    """Write the file: of what reports carried, with how each test came out.

    Raises:
        OSError: it cannot be written.
    """
    sections: list[dict[str, Any]] = []
    profiles: dict[str, Data] = {}
    for text in found:
        carried = json.loads(text)
        sections += carried["sections"]
        profiles |= carried["profiles"]
    places = {key: place for place, key in enumerate(profiles)}
    for section in sections:
        section["said"] = places.get(section["said"])
        section["outcome"] = outcomes.get(section["title"], "")
    sections.sort(key=lambda section: section["at"])  # of several workers
    remarks = [] if sections else ["no test of this run used a relay"]
    path.write_text(assembled(page_data(sections, list(profiles.values()), remarks), title), encoding="utf-8")
