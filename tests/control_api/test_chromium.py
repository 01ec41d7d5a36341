"""The live page in a real browser, in short: a flow, its ladder, each form; and what pages of other origins can do."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from relay.testing import RunningRelay
from support.capabilities import need_program
from support.chromium import Browser, Page, chromium
from support.control_client import Client
from support.origins import Origin, echo, read_exactly
from support.web import web

pytestmark = pytest.mark.system

EVIL = "evil.test"
SCREENSHOTS = os.environ.get("RELAY_SCREENSHOTS")
"""The folder that screenshots of both themes go to, if any."""
_PATIENCE = 5  # a host that is busy with other tests paints so many times as late


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium(f"--host-resolver-rules=MAP {EVIL} 127.0.0.1") as browser:
        yield browser


@pytest.fixture
def page(browser: Browser, nat: RunningRelay) -> Iterator[Page]:
    page = browser.open(nat.control_url)
    page.until("document.querySelector('#switches input')")
    yield page
    assert page.complaints() == []


def submitted(page: Page, form: str, **fields: str) -> str:
    """What the page says once a form with these fields was submitted."""
    page.evaluate("document.querySelector('#said').textContent = ''")
    for name, value in fields.items():
        page.fill(f"{form} [name={name}]", value)
    page.evaluate(f"document.querySelector({json.dumps(form)}).requestSubmit()")
    told: str = page.until("document.querySelector('#said').textContent")
    return told


def test_a_flow_appears_its_ladder_opens_and_a_click_ends_it(nat: RunningRelay, page: Page) -> None:
    with Origin(echo) as origin, socket.create_connection(nat.forward(origin.host, origin.port), 60) as app:
        app.sendall(b"hello")
        assert read_exactly(app, 5) == b"hello"
        assert origin.target in page.until("document.querySelector('.row:not([hidden])')")
        page.click(".row:not([hidden])")
        page.until("document.querySelector('#ladder svg .open')")
        page.click("button[data-command=link-down]")
        page.until("document.querySelector('.row .by-behaviour')?.innerText === 'link-down-reset'")
        page.until("document.querySelector('#ladder svg .data')")
        with pytest.raises(ConnectionResetError):
            app.recv(1)
    for scheme in ("light", "dark") if SCREENSHOTS else ():
        page.do("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        Path(str(SCREENSHOTS), f"control-{scheme}.png").write_bytes(page.screenshot())


def test_freeze_stalls_a_curl_and_thaw_lets_it_go(nat: RunningRelay, page: Page) -> None:
    with Origin(web()) as origin:
        address = nat.forward(origin.host, origin.port)
        page.click("[data-command=freeze][data-side=server]")
        page.until("document.querySelector('#said').textContent === 'freeze: done'")
        asked = [need_program("curl"), "-sS", "--max-time", "60", f"http://{address}/"]
        with subprocess.Popen(asked, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as curl:
            page.until("document.querySelector('.row:not([hidden])')")
            with pytest.raises(subprocess.TimeoutExpired):
                curl.wait(0.5)
            page.click("[data-command=thaw][data-side=server]")
            answer = curl.communicate(timeout=60)
        assert (curl.returncode, answer) == (0, (b"GET /", b""))


_BUSY_S = 2
_LONGEST_WAIT = """(async (for_ms) => {
  const began = performance.now();
  let longest = 0;
  for (let before = began; performance.now() - began < for_ms;) {
    await new Promise(requestAnimationFrame);
    const now = performance.now();
    longest = Math.max(longest, now - before);
    before = now;
  }
  return longest;
})"""


def test_a_thousand_flows_a_second_do_not_freeze_the_page(nat: RunningRelay, page: Page) -> None:
    done = threading.Event()

    def go_on() -> None:
        for number in range(0, 1000 * _BUSY_S, 50):
            nat._in_loop(partial(_emit_flows, nat, 50, number))
            done.wait(0.05)

    flows = threading.Thread(target=go_on)
    flows.start()
    longest_ms = page.evaluate(f"{_LONGEST_WAIT}({_BUSY_S * 1000})")
    flows.join()
    print(f"the longest wait for a frame took {longest_ms:.0f} ms")  # noqa: T201
    assert longest_ms < 200 * _PATIENCE
    page.until(f"document.querySelector('#totals').textContent.startsWith('{1000 * _BUSY_S:,} flows')")
    assert page.evaluate("document.querySelectorAll('.row').length") < 100


def test_a_switch_takes_a_behaviour_out_and_a_quiet_connection_expires_by_a_click(
    nat: RunningRelay, page: Page
) -> None:
    page.click("input[data-behaviour=tos-reset]")
    page.until("document.querySelector('#said').textContent === 'adjust: done'")
    assert "tos-reset" not in [quirk.name for quirk in nat.profile.quirks]
    assert page.evaluate("document.querySelector('#expire').hidden")
    submitted(page, "[data-command=adjust]", settings="idle-timeout.after_s=350")
    page.until("!document.querySelector('#expire').hidden")
    page.click("#expire")
    assert page.until("document.querySelector('#said').textContent.startsWith('advance: 1 record')")
    assert nat.events[-1].fields["by_s"] == 350.001


def test_a_hostile_name_is_text(nat: RunningRelay, page: Page) -> None:
    hostile = "<img src=x onerror=alert(1)>\u202egnp.exe"
    nat._in_loop(lambda: nat.log.emit("flow-opened", flow=9, via="socks5", client="a", destination=hostile))
    assert r"<img src=x onerror=alert(1)>\u{202e}gnp.exe" in page.until("document.querySelector('.row:not([hidden])')")
    page.click(".row:not([hidden])")
    page.until("document.querySelector('#ladder svg')")
    assert page.evaluate("document.images.length") == 0


MANY = 10_000
_FRAMES = """(async (by) => {
  const body = document.querySelector(".body");
  const times = [];
  let before = performance.now();
  for (let frame = 0; frame < 30; frame += 1) {
    body.scrollTop += by;
    await new Promise(requestAnimationFrame);
    const now = performance.now();
    times.push(now - before);
    before = now;
  }
  return times.sort((one, other) => one - other)[15];
})"""


def test_it_is_painted_at_once_and_ten_thousand_flows_scroll_with_every_frame(
    browser: Browser, nat: RunningRelay
) -> None:
    nat.control_url  # noqa: B018 - it keeps what happens from then on
    nat._in_loop(partial(_emit_flows, nat, MANY))
    page = browser.open(nat.control_url, width=1200, height=900)
    page.until(f"document.querySelector('#totals').textContent.startsWith('{MANY - 1:,} flows')")
    paint_ms = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
    still_ms, scrolling_ms = (min(page.evaluate(f"{_FRAMES}({by})") for _ in range(2)) for by in (0, 700))
    print(f"painted after {paint_ms:.0f} ms; a frame takes {still_ms:.1f} ms, scrolling {scrolling_ms:.1f} ms")  # noqa: T201
    assert paint_ms < 300 * _PATIENCE
    assert scrolling_ms < _PATIENCE * max(still_ms, 1000 / 60)
    assert page.evaluate("document.querySelectorAll('.row').length") < 100
    assert page.complaints() == []


def _emit_flows(nat: RunningRelay, count: int, behind: int = 0) -> None:
    for number in range(behind + 1, behind + count + 1):
        nat.log.emit("flow-opened", flow=number, via="socks5", client="a", destination=f"host-{number}:80")


def test_a_flow_that_a_behaviour_ended_before_the_page_came_is_marked(browser: Browser, nat: RunningRelay) -> None:
    with Origin(echo) as origin, socket.create_connection(nat.forward(origin.host, origin.port), 60) as app:
        app.sendall(b"hello")
        assert read_exactly(app, 5) == b"hello"
        nat.link_down()
        nat.wait_for("flow-ended")
    page = browser.open(nat.control_url)
    page.until("document.querySelector('.row .by-behaviour')?.innerText === 'link-down-reset'")


def test_each_form_is_one_request(nat: RunningRelay, page: Page) -> None:
    with Origin(echo) as origin:
        assert submitted(page, "[data-command=open-forward]", target=origin.target) == "open-forward: done"
        (address,) = nat.forward_addresses
        page.until(f"document.querySelector('#fault-forward option[value=\"{address}\"]')")
        fault = {"name": "late", "delay_s": "0.2", "forward": str(address)}
        assert submitted(page, "[data-command=set-fault]", **fault) == "set-fault: done"
        told = page.until("document.querySelector('#faults li')")
        assert told.startswith(f"late: delay_s 0.2, toward the app, of {address}")
        with socket.create_connection(address, 60) as app:
            assert echoes_after(app) >= 0.2
            page.click("#faults button")
            page.until("!document.querySelector('#faults li')")
            assert echoes_after(app) < 0.2
        made = submitted(page, "[data-request]", name="redis", upstream=origin.target)
        assert made == "POST /proxies: done"
        page.until("document.querySelectorAll('#forwards li').length === 2")
        page.click("#forwards li:last-child button")
        page.until("document.querySelector('#forwards li:last-child').innerText.includes('disabled')")
        page.click("#forwards li:last-child button:nth-of-type(2)")
        page.until("document.querySelectorAll('#forwards li').length === 1")
    assert submitted(page, "[data-command=set-seed]", seed="7") == "set-seed: done"
    assert nat.seed == 7
    assert submitted(page, "[data-command=resolve-as]", name="nonsense").startswith("resolve-as: name: ")


def echoes_after(app: socket.socket) -> float:
    began_s = time.monotonic()
    app.sendall(b"x")
    read_exactly(app, 1)
    return time.monotonic() - began_s


_ATTACKS = Path(__file__).with_name("other_origin.js").read_text()
"""What a page of another origin attempts, as a function of the control's address: what came of each attempt."""


def test_a_page_of_another_origin_reads_nothing_and_changes_nothing(
    browser: Browser, nat: RunningRelay, client: Client
) -> None:
    client.ask("POST", "/proxies", {"name": "one", "upstream": "127.0.0.1:9"})
    with Origin(_a_page) as origin:
        evil = browser.open(f"http://{EVIL}:{origin.port}/")
        outcomes = evil.evaluate(f"({_ATTACKS})({json.dumps(nat.control_url)})")
    assert len(outcomes) == 13
    assert {what: told for what, told in outcomes if told not in {"", "failed", "TypeError", "opaque"}} == {}
    assert not [record for record in nat.events if record.event == "link-down"]
    assert list(client.ask("GET", "/proxies").json) == ["one"]


def test_a_name_that_was_rebound_to_the_control_gets_nothing(browser: Browser, nat: RunningRelay) -> None:
    _, port = Client(nat.control_url).address
    evil = browser.open(f"http://{EVIL}:{port}/")
    assert f"Host '{EVIL}:{port}' is no name of this relay's" in evil.evaluate("document.body.innerText")
    json_type: dict[str, Any] = {"method": "POST", "headers": {"Content-Type": "application/json"}, "body": "{}"}
    for path, options in (("/relay/v1/flows", {}), ("/relay/v1/commands/link-down", json_type)):
        asked = f"fetch({json.dumps(path)}, {json.dumps(options)}).then((got) => got.status, (error) => error.name)"
        assert evil.evaluate(asked) in {403, "TypeError"}
    assert not [record for record in nat.events if record.event == "link-down"]


_SLIPPED = """
  <img src=x onerror="document.body.dataset.ran = 'image'">
  <svg onload="document.body.dataset.ran = 'svg'"></svg>
  <a id=link href="javascript:void(document.body.dataset.ran = 'link')">x</a>
  <iframe srcdoc="<script>parent.document.body.dataset.ran = 'frame'</script>"></iframe>
"""


def test_what_slips_into_the_page_does_not_run(browser: Browser, nat: RunningRelay) -> None:
    page = browser.open(nat.control_url)
    page.evaluate(f"document.querySelector('main').insertAdjacentHTML('beforeend', {json.dumps(_SLIPPED)})")
    script = (
        "Object.assign(document.createElement('script'), { textContent: \"document.body.dataset.ran = 'script'\" })"
    )
    page.evaluate(f"document.body.append({script})")
    page.click("#link")
    page.evaluate("new Promise((resolve) => setTimeout(resolve, 200))")
    assert page.evaluate("document.body.dataset.ran ?? 'nothing'") == "nothing"
    refused = [said for said in page.complaints() if "Content Security Policy" in said]
    assert len(refused) >= 4


def _a_page(sock: socket.socket) -> None:
    sock.recv(4096)
    body = b"<!doctype html><title>evil</title><body>"
    sock.sendall(
        b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s"
        % (len(body), body)
    )
