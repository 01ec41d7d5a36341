"""A browser that a test drives by Chrome's DevTools protocol: Chromium itself, over a pair of pipes, and nothing more.

    with chromium() as browser:
        page = browser.open(url)
        page.until("document.querySelector('.row')")

Commands and events are JSON objects, each ended by NUL (chromium's option --remote-debugging-pipe).
"""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from support.capabilities import missing

_PROGRAMS = ("chromium", "google-chrome")
_DEADLINE_S = 60.0
_OPTIONS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-default-browser-check"),
)
_COMPLAINTS = {"Runtime.exceptionThrown", "Log.entryAdded", "Runtime.consoleAPICalled", "Page.javascriptDialogOpening"}


class Browser:
    """A Chromium that runs."""

    def __init__(self, reads: int, writes: int) -> None:
        self._reads = reads
        self._writes = writes
        self._rest = b""
        self._number = 0
        self.events: list[dict[str, Any]] = []

    def open(self, url: str, **metrics: Any) -> Page:
        """Open a page of its own; `colour_scheme` is the reader's, `width` and `height` are the window's."""
        target = self.do("Target.createTarget", url="about:blank")["targetId"]
        page = Page(self, self.do("Target.attachToTarget", targetId=target, flatten=True)["sessionId"])
        for domain in ("Page", "Runtime", "Log"):
            page.do(f"{domain}.enable")
        if scheme := metrics.pop("colour_scheme", None):
            page.do("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        if metrics:
            page.do("Emulation.setDeviceMetricsOverride", deviceScaleFactor=1, mobile=False, **metrics)
        page.go(url)
        return page

    def do(self, method: str, session: str | None = None, **parameters: Any) -> Any:
        """Have a command carried out; events that come before its answer are kept.

        Raises:
            AssertionError: the browser refuses it, or does not answer.
        """
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if session is not None:
            message["sessionId"] = session
        os.write(self._writes, json.dumps(message).encode() + b"\0")
        deadline_s = time.monotonic() + _DEADLINE_S
        while True:
            told = self._next(deadline_s, method)
            if told.get("id") == self._number:
                assert "error" not in told, f"{method}: {told['error']}"
                return told["result"]
            self.events.append(told)

    def _next(self, deadline_s: float, method: str) -> dict[str, Any]:
        while b"\0" not in self._rest:
            left_s = deadline_s - time.monotonic()
            ready, _, _ = select.select([self._reads], [], [], max(0.0, left_s))
            assert ready, f"the browser does not answer {method}"
            piece = os.read(self._reads, 1 << 20)
            assert piece, f"the browser has ended, asked for {method}"
            self._rest += piece
        line, _, self._rest = self._rest.partition(b"\0")
        message: dict[str, Any] = json.loads(line)
        return message


class Page:
    """A page of a browser."""

    def __init__(self, browser: Browser, session: str) -> None:
        self._browser = browser
        self._session = session

    def do(self, method: str, **parameters: Any) -> Any:
        """Have a command carried out for this page."""
        return self._browser.do(method, self._session, **parameters)

    def go(self, url: str) -> None:
        """Go to an address, and wait until what is there has run."""
        self.do("Page.navigate", url=url)
        self.until(f"location.href !== 'about:blank' && document.readyState === 'complete' || {json.dumps(url)} === ''")

    def evaluate(self, expression: str) -> Any:
        """The value of an expression, once it is settled if it is a promise.

        Raises:
            AssertionError: it raises.
        """
        done = self.do("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in done, f"{expression}: {done['exceptionDetails']}"
        return done["result"].get("value")

    def until(self, expression: str, within_s: float = _DEADLINE_S) -> Any:
        """The first value of an expression that is true; an element's is its text."""
        told = f"((found) => found instanceof Element ? found.innerText || true : found)({expression})"
        deadline_s = time.monotonic() + within_s
        while not (value := self.evaluate(told)):
            assert time.monotonic() < deadline_s, (
                f"never true: {expression}; the page has {self.evaluate('document.body.innerText')}"
            )
            time.sleep(0.02)  # the page cannot be waited on
        return value

    def fill(self, selector: str, text: str) -> None:
        """Have a field hold a text, as if it was typed or chosen."""
        found = f"document.querySelector({json.dumps(selector)})"
        self.evaluate(
            f"{found}.value = {json.dumps(text)}; {found}.dispatchEvent(new Event('input', {{bubbles: true}}))"
        )

    def click(self, selector: str) -> None:
        """Click on an element."""
        self.evaluate(f"document.querySelector({json.dumps(selector)}).click()")

    def click_at(self, x: float, y: float) -> None:
        """Click where the pointer is, in CSS pixels from the window's upper left corner."""
        for kind in ("mousePressed", "mouseReleased"):
            self.do("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def press(self, key: str) -> None:
        """Press a key, by its name, and let it go."""
        text = {"text": key} if len(key) == 1 else {}
        for kind in ("keyDown", "keyUp"):
            self.do("Input.dispatchKeyEvent", type=kind, key=key, **(text if kind == "keyDown" else {}))

    def type(self, text: str) -> None:
        """Type into what has the focus."""
        self.do("Input.insertText", text=text)

    def screenshot(self) -> bytes:
        """What it looks like, as PNG."""
        return base64.b64decode(self.do("Page.captureScreenshot", format="png", captureBeyondViewport=True)["data"])

    def complaints(self) -> list[str]:
        """What the page has said on its console, or raised; not that a request of its own was refused."""
        self.evaluate("0")  # what came before has come then
        told = [each for each in self._browser.events if each.get("sessionId") == self._session]
        said = [each["params"] for each in told if each["method"] in _COMPLAINTS]
        return [json.dumps(each) for each in said if each.get("entry", {}).get("source") != "network"]


@contextmanager
def chromium(*options: str) -> Iterator[Browser]:
    """Run one until the block ends."""
    if sys.platform != "linux":
        missing("on other systems no test drives a browser")
    program = next(filter(None, map(shutil.which, _PROGRAMS)), None) or missing("no Chromium is installed")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        (child_reads, writes), (reads, child_writes) = os.pipe(), os.pipe()
        nowhere = os.open(os.devnull, os.O_RDWR)
        actions = [
            *((os.POSIX_SPAWN_DUP2, nowhere, fd) for fd in (0, 1, 2)),
            *((os.POSIX_SPAWN_DUP2, child_reads, 1000), (os.POSIX_SPAWN_DUP2, child_writes, 1001)),
            *((os.POSIX_SPAWN_DUP2, 1000, 3), (os.POSIX_SPAWN_DUP2, 1001, 4)),
        ]
        command = [program, *_OPTIONS, "--remote-debugging-pipe", f"--user-data-dir={profile}", *options, "about:blank"]
        pid = os.posix_spawn(program, command, {**os.environ, "HOME": profile}, file_actions=actions, setpgroup=0)
        for fd in (child_reads, child_writes, nowhere):
            os.close(fd)
        try:
            yield Browser(reads, writes)
        finally:
            os.killpg(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            os.close(reads)
            os.close(writes)
