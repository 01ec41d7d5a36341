"""`relay report`: the file that it writes, and what it says of empty, cut-off and foreign ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from support.flow_records import Told, rebuilt_capture, two_flows
from support.forks import relay_in_fork
from support.programs import RELAY, run


@pytest.fixture
def events(tmp_path: Path) -> Path:
    path = tmp_path / "events.jsonl"
    path.write_text(two_flows().lines())
    return path


def data_of(path: Path) -> dict[str, Any]:
    text = path.read_text(encoding="utf-8").partition('<script type="application/json" id="data">')[2]
    data: dict[str, Any] = json.loads(text.partition("</script>")[0])
    return data


def test_a_file_of_events_becomes_one_of_html(events: Path, tmp_path: Path) -> None:
    output = tmp_path / "report.html"
    done = relay_in_fork("report", str(events), "-o", str(output))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    data = data_of(output)
    (section,) = data["sections"]
    assert section["title"] == str(events)
    assert [flow["cause"] for flow in section["flows"]] == ["internal-peer", "tos-reset"]
    assert data["profiles"][section["said"]]["name"] == "vmware-fusion-11"


@pytest.mark.system
def test_a_pipe_is_read(events: Path, tmp_path: Path) -> None:
    output = tmp_path / "report.html"
    done = run(*RELAY, "report", "-", "-o", str(output), input_=events.read_text())
    assert (done.returncode, done.stderr) == (0, "")
    assert data_of(output)["sections"][0]["title"] == "stdin"


def test_several_runs_are_several_sections(events: Path, tmp_path: Path) -> None:
    output = tmp_path / "report.html"
    events.write_text(events.read_text() * 2)
    relay_in_fork("report", str(events), "-o", str(output))
    assert [section["title"] for section in data_of(output)["sections"]] == [
        f"{events}, run 1 of 2",
        f"{events}, run 2 of 2",
    ]


@pytest.mark.parametrize("profile", ["/etc/passwd", "./none.toml", "none-such"])
def test_a_profile_that_is_not_shipped_is_named_and_not_read(tmp_path: Path, profile: str) -> None:
    told = Told()
    told.start(profile)
    events, output = tmp_path / "events.jsonl", tmp_path / "report.html"
    events.write_text(told.lines())
    assert relay_in_fork("report", str(events), "-o", str(output)).returncode == 0
    (section,) = data_of(output)["sections"]
    assert (section["profile"], section["said"]) == (profile, None)


def test_what_could_not_be_read_is_in_the_report_and_on_stderr(events: Path, tmp_path: Path) -> None:
    output = tmp_path / "report.html"
    events.write_text("<html>\n" + events.read_text()[:-20] + "\n" + "x\n" * 10)
    done = relay_in_fork("report", str(events), "-o", str(output))
    assert done.returncode == 0
    assert done.stderr.startswith(f"relay: {events}: line 1: no JSON at column 1, '<html>'\n")
    data = data_of(output)
    assert len(data["sections"][0]["flows"]) == 2
    assert data["remarks"][0] == "line 1: no JSON at column 1, '<html>'"
    assert data["remarks"][-1] == "7 more lines are no records"


@pytest.mark.parametrize("content", [b"", b"\x7fELF\x00\n"], ids=["empty", "program"])
def test_of_a_file_with_nothing_in_it_no_report_is_written(tmp_path: Path, content: bytes) -> None:
    events, output = tmp_path / "events.jsonl", tmp_path / "report.html"
    events.write_bytes(content)
    done = relay_in_fork("report", str(events), "-o", str(output))
    assert (done.returncode, output.exists()) == (2, False)
    assert done.stderr.startswith(f"relay: {events} has no record of a relay: ")


@pytest.mark.parametrize(
    ("output", "told"),
    [
        ("none/report.html", "relay: --output: cannot write none/report.html: No such file or directory\n"),
        (None, "relay: missing option --output\nhint: see `relay report --help`\n"),
    ],
)
def test_a_report_that_cannot_be_written_is_an_error(events: Path, output: str | None, told: str) -> None:
    done = relay_in_fork("report", str(events), *(() if output is None else ("-o", output)))
    assert done.returncode == 2
    assert done.stderr.startswith(told)


def test_a_capture_becomes_a_report_that_says_what_it_is_made_from(tmp_path: Path) -> None:
    path, output = tmp_path / "flows.pcapng", tmp_path / "report.html"
    path.write_bytes(rebuilt_capture(two_flows().records))
    done = relay_in_fork("report", str(path), "-o", str(output), "--profile", "vmware-fusion")
    assert (done.returncode, done.stderr) == (0, "")
    data = data_of(output)
    (section,) = data["sections"]
    assert [flow["cause"] for flow in section["flows"]] == ["internal-peer", "tos-reset"]
    assert data["remarks"] == ["made from packets: why a flow ended is concluded from its first FIN or RST"]
    assert data["profiles"][section["said"]]["name"] == "vmware-fusion-11"


def test_a_profile_that_there_is_not_is_an_error(events: Path, tmp_path: Path) -> None:
    done = relay_in_fork("report", str(events), "-o", str(tmp_path / "report.html"), "--profile", "none-such")
    assert (done.returncode, (tmp_path / "report.html").exists()) == (2, False)
    assert done.stderr.startswith("relay: --profile: unknown profile 'none-such'\n")


def test_a_capture_that_is_cut_off_is_reported_as_far_as_it_goes(tmp_path: Path) -> None:
    path, output = tmp_path / "flows.pcapng", tmp_path / "report.html"
    path.write_bytes(rebuilt_capture(two_flows().records)[:-10])
    done = relay_in_fork("report", str(path), "-o", str(output))
    assert done.returncode == 0
    assert "it is cut off, or the file still grows" in done.stderr
    data = data_of(output)
    assert len(data["sections"][0]["flows"]) == 2
    assert any("it is cut off" in remark for remark in data["remarks"])


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b'{"hello": 1}\n', "line 1: it has no 'event', which every record has"),
        (b"<html>\n", "line 1: no JSON at column 1, '<html>'"),
        (b"[" * 10_000, "line 1: "),
        (b'{"event": "flow-opened", "flow": NaN}\n', "line 1: "),
    ],
    ids=["another program's", "html", "deep", "NaN"],
)
def test_of_a_foreign_file_the_line_is_named(tmp_path: Path, content: bytes, told: str) -> None:
    events, output = tmp_path / "events.jsonl", tmp_path / "report.html"
    events.write_bytes(content)
    done = relay_in_fork("report", str(events), "-o", str(output))
    assert (done.returncode, output.exists()) == (2, False)
    assert done.stderr.startswith(f"relay: {events} has no record of a relay: {told}")
    assert done.stderr.count("\n") == 2
