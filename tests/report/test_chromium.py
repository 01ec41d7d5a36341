"""The report in Chromium: it opens fast, hears keys, filters, sorts, draws and prints, and runs nothing but its own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from relay.ladder import runs_of
from relay.profiles import load_profile
from relay.report import page_of, section_of
from support.chromium import Browser, Page, chromium
from support.flow_records import STARTED_AT, Told, plain_flow, reset_flow

pytestmark = pytest.mark.system

MANY = 10_000
OPEN_S = 2.0
HOSTILE = "</script><img src=x onerror=alert(1)><script>alert(1)</script>\u202egnp.exe"
_PATIENCE = 5  # a host that is busy with other tests takes so many times as long
_READY = "document.documentElement.dataset.readyMs"
"""Milliseconds from the start of the navigation until all is drawn."""
_ROWS = (
    "[...document.querySelectorAll('.row')].filter((row) => !row.hidden)"
    ".sort((one, other) => one.index - other.index).map((row) => row.innerText.trim().split(/\\s+/)[0])"
)
"""The first word of each row that is an element, in order: the flow's number."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def told() -> Told:
    told = Told()
    told.start()
    return told


def written(folder: Path, told: Told) -> Path:
    sections = [section_of(run, "a run", load_profile("vmware-fusion-11")) for run in runs_of(told.records, STARTED_AT)]
    path = folder / "report.html"
    path.write_text(page_of(sections, "events.jsonl"), encoding="utf-8")
    return path


def opened(browser: Browser, path: Path, **metrics: object) -> Page:
    """The report, open, once all is drawn; it has asked for no other file."""
    page = browser.open(path.as_uri(), **metrics)
    page.until(_READY)
    assert page.evaluate("performance.getEntriesByType('resource').map((each) => each.name)") == []
    return page


def test_ten_thousand_flows_are_soon_open_and_those_in_sight_alone_are_elements(
    browser: Browser, told: Told, tmp_path: Path
) -> None:
    for number in range(1, MANY + 1):
        (reset_flow if number % 5 == 0 else plain_flow)(told, number, at_s=0.01 * number)
    path = written(tmp_path, told)
    page = opened(browser, path)
    ready_s = float(page.evaluate(_READY)) / 1000
    print(f"ready after {ready_s:.3f} s")  # noqa: T201 - a measurement
    assert ready_s < OPEN_S * _PATIENCE
    assert len(page.evaluate(_ROWS)) < 100
    page.evaluate("document.querySelector('.body').scrollTop = 1e9")
    page.until(f"{_ROWS}.includes('{MANY}')")
    assert len(page.evaluate(_ROWS)) < 100
    assert page.complaints() == []


def test_a_flow_is_found_chosen_and_drawn_by_keys_alone(browser: Browser, told: Told, tmp_path: Path) -> None:
    plain_flow(told, 1)
    reset_flow(told, 2)
    page = opened(browser, written(tmp_path, told))
    page.press("/")
    page.type("TOS-reset ssh")
    assert page.evaluate(_ROWS) == ["2"]
    assert page.evaluate("document.querySelector('#shown').innerText") == "1 of 2"
    page.fill("#words", "")
    page.evaluate("document.querySelector('#table').focus()")
    for key in ("End", "ArrowUp", "ArrowDown", "Enter"):
        page.press(key)
    title = page.evaluate("document.querySelector('#detail-title').innerText")
    assert title.startswith("#2 ssh[6441] 127.0.0.1:40022 → 127.0.0.1:22")
    labels = page.evaluate("[...document.querySelectorAll('#ladder text.label')].map((text) => text.textContent)")
    assert "RST, by tos-reset" in labels
    page.press("Escape")
    assert page.evaluate("document.querySelector('#detail').hidden")
    assert page.complaints() == []


def test_a_cause_leads_to_its_evidence(browser: Browser, told: Told, tmp_path: Path) -> None:
    reset_flow(told)
    page = opened(browser, written(tmp_path, told))
    target = page.evaluate("document.querySelector('#detail-outcome a').getAttribute('href')")
    said = page.evaluate(f"document.querySelector({json.dumps(target)}).innerText")
    assert "github.com/vmware/open-vm-tools/issues/287" in said
    links = page.evaluate("[...document.querySelectorAll('#ladder a')].map((link) => link.getAttribute('href'))")
    assert links == [target] * 2  # its RST and its FIN


def test_a_title_sorts_and_turns_round_and_the_timeline_leads_to_a_flow(
    browser: Browser, told: Told, tmp_path: Path
) -> None:
    for number, size in enumerate((5, 100, 20), 1):
        told.open(1.0 + 100 * number, number)
        told(1.0 + 100 * number, "fin-received", number, (size, 0), side="internal")
        told.end(2.0 + 100 * number, number)
    page = opened(browser, written(tmp_path, told))
    for order in (["1", "3", "2"], ["2", "3", "1"]):
        page.evaluate(
            "[...document.querySelectorAll('#table button')].find((b) => /bytes out/.test(b.innerText)).click()"
        )
        assert page.evaluate(_ROWS) == order
    page.evaluate("document.querySelector('#timeline').scrollIntoView()")
    x, y, width = page.evaluate(
        "(({x, y, width}) => [x, y, width])(document.querySelector('#timeline').getBoundingClientRect())"
    )
    page.click_at(x + width - 2, y + 6)
    page.until("document.querySelector('#detail-title').innerText.startsWith('#3 ')")


def test_a_hostile_name_is_text_and_what_slips_in_does_not_run(browser: Browser, told: Told, tmp_path: Path) -> None:
    told.open(0.0, destination=f"{HOSTILE}:443")
    told(0.1, "note", text=HOSTILE, because=HOSTILE)
    told.end(0.2, because=HOSTILE)
    path = written(tmp_path, told)
    page = opened(browser, path)
    for place in ("#detail-title", ".row"):
        assert HOSTILE.replace("\u202e", "\\u202e") in page.evaluate(f"document.querySelector('{place}').innerText")
    assert page.evaluate("document.images.length") == 0
    assert page.evaluate("document.documentElement.textContent.includes('\u202e')") is False
    assert page.complaints() == []
    slipped = "<script>document.title = 'ran'</script><img src=http://192.0.2.1/x onerror=\"document.title = 'ran'\">"
    path.write_text(path.read_text(encoding="utf-8").replace("<main>", f"<main>{slipped}"), encoding="utf-8")
    page = browser.open(path.as_uri())
    page.until(_READY)
    assert page.evaluate("document.title") == "events.jsonl"
    assert len([said for said in page.complaints() if "Content Security Policy" in said]) >= 2


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_has_the_colours_that_the_reader_prefers_and_fits_a_narrow_window(
    browser: Browser, told: Told, tmp_path: Path, scheme: str
) -> None:
    reset_flow(told)
    page = opened(browser, written(tmp_path, told), colour_scheme=scheme, width=500, height=800)
    back, text = (page.evaluate(f"getComputedStyle(document.body).{name}") for name in ("backgroundColor", "color"))
    light, dark = sorted((back, text), key=lambda colour: -sum(map(int, colour[4:-1].split(","))))
    assert (back, text) == ((light, dark) if scheme == "light" else (dark, light))
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.evaluate("document.querySelector('#table').scrollWidth") > 500


def test_in_print_all_flows_are_there(browser: Browser, told: Told, tmp_path: Path) -> None:
    for number in range(1, 301):
        plain_flow(told, number)
    page = opened(browser, written(tmp_path, told))
    assert len(page.evaluate(_ROWS)) < 100
    page.evaluate(f"addEventListener('beforeprint', () => document.body.dataset.printed = {_ROWS}.length)")
    page.do("Page.printToPDF")
    assert page.evaluate("document.body.dataset.printed") == "300"
    assert len(page.evaluate(_ROWS)) < 100
