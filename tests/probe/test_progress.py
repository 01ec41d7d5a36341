"""What a probe shows of itself while it runs, and what it keeps."""

from __future__ import annotations

import io
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from relay.cli.probe_log import ProbeLog
from relay.cli.probe_progress import ProgressLine, in_words
from relay.cli.probing import _chosen
from relay.errors import ConfigError, Unsupported
from relay.probe.findings import Finding, Findings


class Terminal(io.StringIO):
    """A stream that says that people look at it."""

    def isatty(self) -> bool:
        return True


def test_a_terminal_has_a_bar_with_the_time_that_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 1000.0
    monkeypatch.setattr("relay.cli.probe_progress.real_s", lambda: now_s)
    terminal = Terminal()
    line = ProgressLine(terminal)
    with line:
        line.began("close", 3.0, 400.0)
        now_s += 100
        line.began("idle", 200.0, 300.0)
        now_s += 200
        line.draw()
    shown = [each for each in terminal.getvalue().split("\r\x1b[K") if each]
    assert shown == [
        "close        [........................] about 7 min left",
        "idle         [######..................] about 5 min left",
        "idle         [##################......] about 2 min left",
    ]
    assert terminal.getvalue().endswith("\r\x1b[K")


def test_what_is_no_terminal_has_a_line_for_each_probe() -> None:
    stream = io.StringIO()
    line = ProgressLine(stream)
    with line:
        line.began("close", 3.0, 42.0)
    assert stream.getvalue() == "close        about 42 s left\n"


@pytest.mark.parametrize(("seconds", "words"), [(0, "0 s"), (89, "89 s"), (120, "2 min"), (7200, "2.0 h")])
def test_times_are_said_as_people_do(seconds: float, words: str) -> None:
    assert in_words(seconds) == words


def test_what_is_seen_is_in_the_file_at_once_and_an_earlier_run_is_there_until_then(tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    path.write_text('{"earlier": "run"}\n' * 9)
    with ProbeLog(path) as log:
        assert len(path.read_text().splitlines()) == 9
        log.add({"note": "one"})
        assert json.loads(path.read_text()) == {"note": "one"}
        log.add({"note": "two"})
    assert len(path.read_text().splitlines()) == 2


def test_findings_and_notes_are_among_what_is_seen_the_same_note_once() -> None:
    seen: list[Any] = []
    findings = Findings(saw=seen.append)
    findings.found(Finding("tos-reset", "mask", 224, "reset"))
    findings.note("twice")
    findings.note("twice")
    assert seen == [{"found": "tos-reset.mask", "value": 224, "says": "reset"}, {"note": "twice"}]


def test_a_run_that_sees_nothing_leaves_no_new_file(tmp_path: Path) -> None:
    with ProbeLog(tmp_path / "mine.jsonl"):
        pass
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ConfigError, match="--output: cannot write"):
        ProbeLog(tmp_path / "nowhere" / "mine.jsonl")


def test_which_probes_run() -> None:
    names = [probe.name for probe in _chosen([], quick=False)]
    assert "flows" not in names
    assert {"idle", "watch", "udp"} <= set(names)
    quick = [probe.name for probe in _chosen([], quick=True)]
    assert quick == ["handshake", "refusal", "close", "local-ack", "keepalive", "tos", "syn", "guess"]
    assert [probe.name for probe in _chosen(["flows"], quick=True)] == ["flows"]


def test_a_probe_that_this_system_has_no_way_for_is_left_out_or_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relay.cli.probing.sys", SimpleNamespace(platform="darwin"))
    assert "syn" not in [probe.name for probe in _chosen([], quick=True)]
    with pytest.raises(Unsupported, match="--only syn: darwin lacks") as refused:
        _chosen(["syn"], quick=False)
    assert refused.value.hint == "run it on Linux"
