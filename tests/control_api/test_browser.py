"""The live page in Chromium: a flow appears, its ladder opens, freeze stalls it and thaw lets it go.

pip install -e ".[browser]" && apt-get install chromium
"""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import sync_playwright

from relay.testing import RunningRelay
from support.capabilities import need_program
from support.origins import Origin, echo, read_exactly
from support.web import web

pytestmark = [pytest.mark.system, pytest.mark.soak, pytest.mark.timeout(300)]
SCREENSHOTS = os.environ.get("RELAY_SCREENSHOTS")
"""The folder that screenshots of both themes go to, if any."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    chromium = need_program("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-dev-shm-usage"])
        yield browser
        browser.close()


@pytest.fixture
def heard() -> list[str]:
    """What the page has complained of."""
    return []


@pytest.fixture
def page(browser: Any, nat: RunningRelay, heard: list[str]) -> Iterator[Any]:
    page = browser.new_page()
    page.on("console", lambda message: heard.append(message.text))
    page.on("pageerror", lambda error: heard.append(str(error)))
    page.on("dialog", lambda dialog: heard.append(f"dialog {dialog.message}"))
    page.goto(nat.control_url)
    page.wait_for_selector("#switches input")
    yield page
    page.close()
    assert heard == []


def test_a_flow_appears_and_its_ladder_opens(nat: RunningRelay, page: Any) -> None:
    paint_ms = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? 0")
    assert paint_ms < 1000
    with Origin(echo) as origin, socket.create_connection(nat.forward(origin.host, origin.port), 5) as app:
        app.sendall(b"hello")
        assert read_exactly(app, 5) == b"hello"
        row = page.wait_for_selector(".row:not([hidden])")
        assert origin.target in row.inner_text()
        row.click()
        page.wait_for_selector("#ladder svg")
        page.click("text=link down")
        page.wait_for_selector(".row .by-behaviour >> text=link-down-reset")
        page.wait_for_selector("text=ended by link-down-reset")
        page.wait_for_selector("#ladder svg .data")
    for scheme in ("light", "dark") if SCREENSHOTS else ():
        page.emulate_media(color_scheme=scheme)
        page.screenshot(path=Path(str(SCREENSHOTS)) / f"control-{scheme}.png", full_page=True)


def test_freeze_stalls_a_curl_and_thaw_lets_it_go(nat: RunningRelay, page: Any) -> None:
    with Origin(web()) as origin:
        address = nat.forward(origin.host, origin.port)
        page.click("text=freeze server")
        page.wait_for_selector("text=freeze: done")
        asked = [need_program("curl"), "-sS", "--max-time", "20", f"http://{address}/"]
        with subprocess.Popen(asked, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as curl:
            page.wait_for_selector(".row:not([hidden])")
            with pytest.raises(subprocess.TimeoutExpired):
                curl.wait(0.5)
            page.click("text=thaw server")
            _, said = curl.communicate(timeout=20)
        assert (curl.returncode, said) == (0, b"")


def test_a_switch_takes_a_behaviour_out(nat: RunningRelay, page: Any) -> None:
    page.uncheck("input[data-behaviour=tos-reset]")
    page.wait_for_selector("text=adjust: done")
    assert "tos-reset" not in [quirk.name for quirk in nat.profile.quirks]


def test_a_hostile_name_is_text(nat: RunningRelay, page: Any) -> None:
    hostile = "<img src=x onerror=alert(1)>\u202egnp.exe"
    nat._in_loop(lambda: nat.log.emit("flow-opened", flow=9, via="socks5", client="a", destination=hostile))
    row = page.wait_for_selector(".row:not([hidden])")
    assert r"\u{202e}gnp.exe" in row.inner_text()
    row.click()
    page.wait_for_selector("#ladder svg")
    assert page.query_selector("img") is None


def test_a_thousand_flows_a_second_do_not_freeze_the_page(nat: RunningRelay, page: Any) -> None:
    for second in range(10):
        began_s = time.monotonic()
        nat._in_loop(partial(_emit_flows, nat, second * 1000, 1000))
        frames = page.evaluate(
            "new Promise((done) => { let n = 0; const began = performance.now();"
            " const frame = () => { n += 1; if (performance.now() - began < 500) requestAnimationFrame(frame);"
            " else done(n); }; requestAnimationFrame(frame); })"
        )
        assert frames > 10
        time.sleep(max(0.0, 1 - (time.monotonic() - began_s)))
    page.wait_for_selector("text=10,000 flows")
    assert page.evaluate("document.querySelectorAll('.row').length") < 100


def _emit_flows(nat: RunningRelay, first: int, count: int) -> None:
    for number in range(first + 1, first + count + 1):
        nat.log.emit("flow-opened", flow=number, via="socks5", client="a", destination=f"host-{number}:80")
