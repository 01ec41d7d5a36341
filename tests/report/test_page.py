"""The report's file: it has all that the events tell, loads nothing, and what others chose in it stays text."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from html.parser import HTMLParser
from typing import Any

import pytest

from relay.ladder import runs_of
from relay.profiles import load_profile
from relay.report import page_of, section_of
from relay.report.html import embedded
from support.flow_records import STARTED_AT, Told, plain_flow, reset_flow

HOSTILE = "</script><script>alert(1)</script >\u202e{{title}}<!--<script &quot;'\x1b[2J\u2028\ud800"


class Page(HTMLParser):
    """Its elements, and the text in each script and style."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.raw: dict[str, list[str]] = {"script": [], "style": []}
        self.feed(text)
        self.close()
        self.raw = {tag: texts[::2] for tag, texts in self.raw.items()}  # without what is between two of them

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag in self.raw:
            self.raw[tag].append("")

    def handle_endtag(self, tag: str) -> None:
        if tag in self.raw:
            self.raw[tag].append("")

    def handle_data(self, data: str) -> None:
        if self.elements and self.elements[-1][0] in self.raw:
            self.raw[self.elements[-1][0]][-1] += data

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def data(self) -> dict[str, Any]:
        """What is in the script that is no script."""
        found: dict[str, Any] = json.loads(self.raw["script"][0])
        return found


def page(told: Told, title: str = "events.jsonl", profile: str = "vmware-fusion-11") -> str:
    sections = [section_of(run, title, load_profile(profile)) for run in runs_of(told.records, STARTED_AT)]
    return page_of(sections, title, ["line 3: it is cut off"])


@pytest.fixture
def told() -> Told:
    told = Told()
    told.start()
    return told


def test_a_flow_is_there_with_its_steps(told: Told) -> None:
    reset_flow(told)
    data = Page(page(told)).data
    (section,) = data["sections"]
    (flow,) = section["flows"]
    steps = flow.pop("steps")
    assert flow == {
        "number": 1,
        "process": "ssh[6441]",
        "client": "127.0.0.1:40022",
        "via": "forward",
        "destination": "127.0.0.1:22",
        "address": "127.0.0.1:22",
        "cause": "tos-reset",
        "behaviour": True,
        "out": 3489,
        "in": 3365,
        "from": STARTED_AT + 1.0,
        "to": pytest.approx(STARTED_AT + 1.644),
        "duration": 0.644,
    }
    assert steps[0] == ["open", 0.0, "SYN, answered by the kernel", 0, 1]
    assert steps[3] == ["gap", None, "nothing for 0.522 s"]
    assert ["rst", 0.525, "RST", 1, 0, "tos-reset"] in steps
    assert (section["at"], section["profile"], section["seed"]) == (
        "2026-01-31 12:00:00+00:00",
        "vmware-fusion-11",
        "7",
    )
    assert data["remarks"] == ["line 3: it is cut off"]


def test_each_cause_is_explained_by_the_profile_with_its_evidence_or_by_the_causes_own_words(told: Told) -> None:
    reset_flow(told, 1)
    plain_flow(told, 2)
    data = Page(page(told)).data
    (section,) = data["sections"]
    quirks = {quirk["name"]: quirk for quirk in data["profiles"][section["said"]]["quirks"]}
    (quirk,) = (each for each in load_profile("vmware-fusion-11").quirks if each.name == "tos-reset")
    assert [each["source"] for each in quirks["tos-reset"]["evidence"]] == [each.source for each in quirk.evidence]
    assert quirks["tos-reset"]["status"] == "observed"
    causes = [flow["cause"] for flow in section["flows"]]
    assert causes == ["tos-reset", "internal-peer"]
    assert data["causes"]["internal-peer"] == "the app ended it, with FIN or RST, or stopped answering"


def test_what_others_chose_stays_text(told: Told) -> None:
    told.open(0.0, destination=HOSTILE)
    told(0.1, "dial-failed", failure=HOSTILE, detail=HOSTILE)
    told(0.1, "note", text=HOSTILE, because=HOSTILE)
    told.end(0.2, because=HOSTILE)
    text = page(told, title=HOSTILE)
    hostile, plain = Page(text), Page(page(Told()))
    assert [name for name, _ in hostile.elements] == [name for name, _ in plain.elements]
    assert hostile.raw["script"][1:] == plain.raw["script"][1:]
    assert "<" not in hostile.raw["script"][0]
    assert not set(text) & set("\u202e\x1b\u2028")
    assert html.escape("</script><script>alert(1)</script >\\u202e{{title}}<!--<script &quot;'\\x1b[2J") in text
    (section,) = hostile.data["sections"]
    assert section["flows"][0]["destination"].startswith("</script><script>alert(1)</script >\\u202e{{title}}")


def test_it_may_run_its_own_scripts_and_load_nothing(told: Told) -> None:
    made = Page(page(told))
    (policy,) = (each["content"] for each in made.of("meta") if each.get("http-equiv") == "Content-Security-Policy")
    allowed = dict(part.partition(" ")[::2] for part in (policy or "").split("; "))
    assert allowed.keys() == {"default-src", "style-src", "script-src", "base-uri", "form-action"}
    assert {allowed[name] for name in ("default-src", "base-uri", "form-action")} == {"'none'"}
    for kind, texts in (("style-src", made.raw["style"]), ("script-src", made.raw["script"][1:])):
        hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in texts]
        assert allowed[kind] == " ".join(f"'sha256-{each}'" for each in hashes)
    assert [name for _, attributes in made.elements for name in attributes if name in {"src", "href", "style"}] == []
    assert [name for _, attributes in made.elements for name in attributes if name.startswith("on")] == []
    code = "".join(made.raw["script"][1:]) + "".join(made.raw["style"])
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|@import|url\(|fetch\(", code)


def test_a_flow_of_very_many_steps_keeps_its_beginning_and_its_end(told: Told) -> None:
    told.open(0.0)
    for number in range(1000):
        told(0.001 * number, "note", text=f"{number}", because="b")
    told.end(2.0)
    (section,) = Page(page(told)).data["sections"]
    steps = section["flows"][0]["steps"]
    assert len(steps) == 401
    assert steps[200] == ["gap", None, "603 steps are left out here"]
    assert steps[-1][0] == "end"


def test_a_profile_that_several_sections_have_is_there_once(told: Told) -> None:
    told.start()
    data = Page(page(told)).data
    assert [section["said"] for section in data["sections"]] == [0, 0]
    assert len(data["profiles"]) == 1


def test_data_have_no_number_that_javascript_cannot_read() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        embedded({"number": float("nan")})
