"""`relay demo`: the whole of it, as a user runs it, and as an ordinary user does."""

from __future__ import annotations

import concurrent.futures
import contextlib
import itertools
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest

from relay.abilities import Ability, Want
from relay.demo import JSON_KEYS
from relay.observe import survey
from relay.profiles import Evidence, load_profile
from support.capabilities import missing
from support.programs import RELAY, as_ordinary_user, clean_environment

BACKENDS = ("asyncio", "trio")
PROFILES = ("transparent", "vmware-fusion")
QUIRKS = {
    "tos-change": "tos-reset",
    "dead-server": "local-keepalive",
    "abandoned-handshake": "precomplete-handshake",
}
_WIDTH = 80
_AT_MOST_S = 24.0  # from the first line on; 12 s of it are waits, the rest is for a host with other work to do
_TIMEOUT_S = 60.0

# Nothing of the relay is as its profiles say any more.
_SABOTAGED = """
from relay.actions import AbandonDial, SendRst
from relay.behaviours.local_keepalive import LocalKeepalive
from relay.behaviours.precomplete_handshake import PrecompleteHandshake
from relay.behaviours.tos_reset import TosReset
from relay.cli.main import main
from relay.events import Side
LocalKeepalive.on_probe_arrived = lambda self, event: [SendRst(Side.INTERNAL)]
PrecompleteHandshake.on_initiator_vanished = lambda self, event: [AbandonDial()]
TosReset.on_tos_changed = lambda self, event: []
main()
"""


@dataclass(frozen=True)
class Ran:
    """A demo that ended."""

    lines: list[tuple[float, str]]
    """What it printed, and when that came, in seconds since the start."""
    stderr: str
    exit_code: int
    duration_s: float

    @property
    def text(self) -> str:
        return "\n".join(line for _, line in self.lines)

    @property
    def words(self) -> str:
        return " ".join(self.text.split())

    @property
    def object(self) -> dict[str, Any]:
        [(_, line)] = self.lines
        loaded: dict[str, Any] = json.loads(line)
        return loaded


def run_demo(*command: str) -> Ran:
    began_s = time.monotonic()
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=clean_environment(PYTHONWARNINGS="error", PYTHONUNBUFFERED=""),
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        lines = [(time.monotonic() - began_s, line.rstrip("\n")) for line in process.stdout]
        stderr = process.stderr.read()
        exit_code = process.wait(_TIMEOUT_S)
    return Ran(lines, stderr, exit_code, time.monotonic() - began_s)


class Demos:
    """Demos of every kind, on both async libraries. They wait more than they work, so some run at the same time."""

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        if not {Want(Ability.TOS), Want(Ability.KEEPALIVE)} <= survey().chosen.keys():
            missing("needs providers of TOS bytes and keepalive probes, which only Linux has")
        self._running: dict[tuple[str, str], Future[Ran]] = {}
        self._start(pool, "text", (*RELAY, "demo"))
        concurrent.futures.wait(self._running.values())  # these are timed
        self._start(pool, "none", (*RELAY, "demo", "--observer", "none"))
        self._start(pool, "sabotaged", (sys.executable, "-I", "-c", _SABOTAGED, "demo", "--json"))
        with contextlib.suppress(pytest.skip.Exception):
            self._start(pool, "ordinary", (*as_ordinary_user(), *RELAY, "demo", "--json"))

    def _start(self, pool: ThreadPoolExecutor, kind: str, command: tuple[str, ...]) -> None:
        for backend in BACKENDS:
            self._running[kind, backend] = pool.submit(run_demo, *command, "--backend", backend)

    def get(self, kind: str, backend: str) -> Ran:
        if (kind, backend) not in self._running:
            as_ordinary_user()  # says why not
        return self._running[kind, backend].result()


@pytest.fixture(scope="module")
def demos() -> Iterator[Demos]:
    with ThreadPoolExecutor(3) as pool:
        yield Demos(pool)


def first_sentences(quirk: str) -> tuple[Evidence, ...]:
    return next(each for each in load_profile("vmware-fusion").quirks if each.name == quirk).evidence[:2]


def test_every_story_comes_out_as_its_profiles_promise_in_time(demos: Demos, backend: str) -> None:
    ran = demos.get("text", backend)
    assert (ran.exit_code, ran.stderr) == (0, "")
    assert ran.duration_s - ran.lines[0][0] < _AT_MOST_S
    assert "3 of 3 stories came out as the profiles promise;" in ran.text
    assert ran.text.count("As both profiles promise:") == 3


def test_the_two_profiles_stand_side_by_side_and_a_bar_marks_where_they_part(demos: Demos, backend: str) -> None:
    lines = [line for _, line in demos.get("text", backend).lines]
    rows = [" ".join(line.split()) for line in lines if line[4:7] == " s " and " | " in line]
    seen = [row.partition(" s ")[2] for row in rows]
    assert 'app hears "two" | ECONNRESET' in seen
    assert any(row.startswith('server hears "one", "two", FIN | hears "one", FIN') for row in seen)
    assert any(row.startswith(("app ETIMEDOUT", "app ECONNRESET")) for row in seen)
    assert any(row.startswith("server hears ") and row.endswith("| hears not one segment") for row in seen)
    assert any(
        row.startswith("server no connection within 2 s | a connection ") and row.endswith(": FIN") for row in seen
    )
    same = [line for line in lines if line.count('hears "one"') == 2 and "FIN" not in line]
    assert len(same) == 2
    assert "|" not in "".join(same)


def test_each_story_carries_the_profiles_own_sentences_of_evidence(demos: Demos, backend: str) -> None:
    words = demos.get("text", backend).words
    for quirk in QUIRKS.values():
        assert first_sentences(quirk)
        for evidence in first_sentences(quirk):
            assert f"- {evidence.says}" in words
            assert evidence.source in words


def test_it_fits_80_columns_and_needs_no_colour(demos: Demos, backend: str) -> None:
    for kind in ("text", "none"):
        ran = demos.get(kind, backend)
        assert [line for _, line in ran.lines if len(line) > _WIDTH] == []
        assert "\x1b" not in ran.text


def test_it_is_shown_as_it_happens(demos: Demos, backend: str) -> None:
    ran = demos.get("text", backend)
    came_s = {name: next(at_s for at_s, line in ran.lines if name in line) for name in QUIRKS}
    assert came_s["dead-server"] - came_s["tos-change"] < 6
    assert came_s["abandoned-handshake"] - came_s["dead-server"] > 5
    ticks = [at_s for at_s, line in ran.lines if "its probe was answered" in line]
    assert len(ticks) >= 6, "the app's probes are answered behind VMware until the story is over"
    assert 0.3 < statistics.median(later - earlier for earlier, later in itertools.pairwise(ticks)) < 2


def test_an_ordinary_user_sees_the_same_and_what_is_only_approximate(demos: Demos, backend: str) -> None:
    ran = demos.get("ordinary", backend)
    assert (ran.exit_code, ran.stderr) == (0, "")
    assert ran.object["as_promised"]
    [transparent, vmware] = ran.object["stories"][0]["profiles"]
    assert (transparent["fidelity"], vmware["fidelity"]) == (None, "approximate")
    [transparent, vmware] = ran.object["stories"][1]["profiles"]
    assert (transparent["fidelity"], vmware["fidelity"]) == ("approximate", "exact")
    assert (transparent["seen"]["app"], vmware["seen"]["app"]) == ("found dead", "still up")


def paths(value: object, path: str = "") -> set[str]:
    """Every key of a JSON value by its path, as `JSON_KEYS` writes it."""
    if isinstance(value, dict):
        return {found for key, each in value.items() for found in paths(each, f"{path}.{key}" if path else key)}
    if isinstance(value, list):
        return {found for each in value for found in paths(each, f"{path}[]")}
    return {path}


def test_every_key_of_the_json_object_is_documented_and_there(demos: Demos, backend: str) -> None:
    assert paths(demos.get("ordinary", backend).object) == set(JSON_KEYS) - {"stories[].profiles[].seen"}


def test_the_json_object_has_both_performances_of_every_story_beat_by_beat(demos: Demos, backend: str) -> None:
    told = demos.get("ordinary", backend).object
    assert {story["name"]: story["quirk"] for story in told["stories"]} == QUIRKS
    for story in told["stories"]:
        left, right = story["profiles"]
        assert (left["name"], right["name"]) == PROFILES
        assert [beat["who"] for beat in left["beats"]] == [beat["who"] for beat in right["beats"]]
        done = [[beat["text"] for beat in each["beats"] if not beat["who"]] for each in (left, right)]
        assert done[0] == done[1]
        assert left["seen"] != right["seen"]
        assert [each["says"] for each in right["evidence"]][:2] == [
            each.says for each in first_sentences(story["quirk"])
        ]


def test_what_this_host_cannot_show_is_labelled_with_the_remedy_and_not_counted(demos: Demos, backend: str) -> None:
    ran = demos.get("none", backend)
    assert ran.exit_code == 3
    assert "1 of 3 stories came out as the profiles promise, 2 not shown;" in ran.text
    for name, quirk in list(QUIRKS.items())[:2]:
        assert f"not shown: {quirk} is impossible here: no observer is in use" in ran.words
        assert f"{name} is not shown: {quirk} is impossible here" in ran.stderr
    assert ran.text.count("remedy: leave --observer none out") == 2
    assert ran.stderr.splitlines()[1] == "hint: leave --observer none out"
    assert "ECONNRESET" not in ran.text


def test_a_relay_that_breaks_a_promise_fails_the_demo_and_the_story_is_named(demos: Demos, backend: str) -> None:
    ran = demos.get("sabotaged", backend)
    assert ran.exit_code == 1
    [complaint, hint] = ran.stderr.splitlines()
    assert complaint.startswith("relay: demo: tos-change: vmware-fusion promises app: ECONNRESET;")
    assert hint.startswith("hint: ")
    assert [story["verdict"] for story in ran.object["stories"]] == ["broken"] * 3
    assert not ran.object["as_promised"]
    for name in QUIRKS:
        assert f"{name}: vmware-fusion promises" in complaint


@pytest.mark.parametrize(("env", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)], ids=str)
def test_it_is_coloured_on_a_terminal_unless_no_color_is_set(env: dict[str, str], coloured: bool) -> None:
    if sys.platform == "win32":
        missing("needs pseudo-terminals")
    ours, theirs = os.openpty()
    command = [*RELAY, "demo", "--observer", "none"]
    with subprocess.Popen(
        command, stdout=theirs, env=clean_environment(TERM="xterm", **env), stderr=subprocess.PIPE
    ) as process:
        os.close(theirs)
        shown = b""
        with contextlib.suppress(OSError):  # Linux's EIO: the other end is closed
            while data := os.read(ours, 65536):
                shown += data
        os.close(ours)
        process.communicate()
    text = shown.decode().replace("\r\n", "\n")
    assert ("\x1b[31ma connection" in text, "\x1b" in text) == (coloured, coloured)
    assert "As both profiles promise: behind VMware a server gets connections" in text


@contextlib.contextmanager
def demo_that_has_said(words: str, backend: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """A demo of its own, once it has come to a line with these words."""
    if sys.platform == "win32":
        missing("on Windows no signal stops a process")
    with subprocess.Popen(
        [*RELAY, "demo", "--backend", backend],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=clean_environment(PYTHONUNBUFFERED="", **environment),
    ) as process:
        assert process.stdout is not None
        assert any(words in line for line in process.stdout)
        yield process


def test_ctrl_c_ends_it_at_once_and_quietly(backend: str) -> None:
    with demo_that_has_said("falls silent", backend, PYTHONWARNINGS="error") as process:
        assert process.stderr is not None
        process.send_signal(signal.SIGINT)
        began_s = time.monotonic()
        assert (process.wait(60), process.stderr.read()) == (130, "")
        assert time.monotonic() - began_s < 7, "less than what is left of it"


@pytest.mark.parametrize("after", ["The same app", "falls silent"])
def test_a_second_ctrl_c_disturbs_nothing(after: str, backend: str) -> None:
    # Not with warnings as errors: an import that is interrupted leaves its file to the collector.
    with demo_that_has_said(after, backend) as process:
        assert process.stderr is not None
        while process.poll() is None:
            process.send_signal(signal.SIGINT)
            time.sleep(0.03)  # two that come at once may count as one
        assert (process.wait(60), process.stderr.read()) == (130, "")


def test_a_reader_that_goes_away_ends_it_quietly(backend: str) -> None:
    with subprocess.Popen(
        [*RELAY, "demo", "--backend", backend],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=clean_environment(PYTHONWARNINGS="error", PYTHONUNBUFFERED=""),
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(60) != 0
        assert process.stderr.read() == ""
