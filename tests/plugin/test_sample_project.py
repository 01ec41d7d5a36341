"""A project that knows nothing of this repository installs the wheel in a fresh environment and runs its own suite."""

from __future__ import annotations

import html
import importlib.util
import json
import re
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias
from xml.etree import ElementTree as ET

import pytest

from support.capabilities import missing
from support.programs import clean_environment

_PROJECT = Path(__file__).parents[2]
_SAMPLE = Path(__file__).with_name("sample_project")
_SEED = 2  # with it, some of the tests that leave something to chance pass, and some fail


@dataclass
class Ran:
    """A run of the sample project's suite."""

    exit_code: int
    stdout: str
    outcomes: dict[str, str]
    """Each test's name, without its file's, and its outcome: passed, failed or error."""


RunSuite: TypeAlias = Callable[..., Ran]


def _run(*command: str, cwd: Path, timeout_s: float = 100) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in clean_environment().items() if not name.startswith(("PYTEST", "PYTHON"))}
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=timeout_s, check=False)


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a fresh environment with the sample project and what it asks for."""
    if sys.platform != "linux":
        missing("what the sample project's tests provoke is seen on Linux alone")
    for tool in ("pip", "hatchling"):
        if importlib.util.find_spec(tool) is None:
            missing(f"{tool} is not installed: a wheel cannot be built here")
    work = tmp_path_factory.mktemp("sample")
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check")
    build = (*pip, "wheel", "--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir", str(work))
    built = _run(*build, str(_PROJECT), str(_SAMPLE), cwd=work)
    assert built.returncode == 0, built.stderr
    relay_wheel, sample_wheel = next(work.glob("vmnat_relay-*.whl")), next(work.glob("greeter-*.whl"))
    venv.create(work / "venv")
    python = work / "venv" / "bin" / "python"
    wanted = (str(relay_wheel), f"{sample_wheel}[test]")
    install = (*pip, "--python", str(python), "install", "--quiet", "--no-compile", "--prefer-binary")
    installed = _run(*install, *wanted, cwd=work)
    if "NewConnectionError" in installed.stderr:
        missing("no package index can be reached")
    assert installed.returncode == 0, installed.stderr
    return python


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample project's tests and settings, far from ours."""
    place = tmp_path_factory.mktemp("checkout") / "sample"
    shutil.copytree(_SAMPLE, place, ignore=shutil.ignore_patterns("src", "__pycache__"))
    return place


@pytest.fixture(scope="module")
def run(python: Path, checkout: Path) -> RunSuite:
    """Run the sample project's tests with these arguments."""

    def _run_suite(*arguments: str) -> Ran:
        report = checkout / "report.xml"
        done = _run(str(python), "-m", "pytest", "-ra", f"--junit-xml={report}", *arguments, cwd=checkout)
        return Ran(done.returncode, done.stdout + done.stderr, dict(_outcomes(report)))

    return _run_suite


def _outcomes(report: Path) -> Iterable[tuple[str, str]]:
    for case in ET.parse(report).iter("testcase"):  # noqa: S314 - our own
        kinds = [child.tag for child in case if child.tag in {"failure", "error", "skipped"}]
        yield case.attrib["name"], {"failure": "failed"}.get(kinds[0], kinds[0]) if kinds else "passed"


EXPECTED = {
    "test_the_installed_relay_is_used": "passed",
    "test_a_greeting_passes": "passed",
    "test_a_change_of_precedence_is_the_end": "passed",
    "test_a_change_of_precedence_behind_three_nats[vmware-fusion]": "passed",
    "test_a_change_of_precedence_behind_three_nats[vmware-workstation-16]": "passed",
    "test_a_change_of_precedence_behind_three_nats[transparent]": "passed",
    "test_what_a_user_of_the_nat_would_see": "failed",
    "test_one_relay_for_all": "passed",
    "test_with_pytest_asyncio": "passed",
    "test_with_anyio[asyncio]": "passed",
    "test_with_anyio[trio]": "passed",
    "test_in_a_unittest": "passed",
    "test_the_marker_counts": "passed",
    "test_unknown_profile": "error",
    "test_unknown_setting": "error",
    "test_wait_for_what_never_comes": "failed",
    "test_used_after_it_ended": "error",
}


@pytest.fixture(scope="module")
def whole(run: RunSuite) -> Ran:
    """The whole suite, in one process."""
    return run("--nat-seed", str(_SEED), "--html=pytest.html", "--self-contained-html")


def _moods(ran: Ran) -> dict[str, str]:
    return {name: outcome for name, outcome in ran.outcomes.items() if name.startswith("test_moods")}


def test_every_test_comes_out_as_it_is_meant_to(whole: Ran) -> None:
    assert whole.exit_code == 1, whole.stdout
    moods = _moods(whole)
    assert set(moods.values()) == {"passed", "failed"}
    assert {name: outcome for name, outcome in whole.outcomes.items() if name not in moods} == EXPECTED, whole.stdout


def test_workers_change_no_outcome(run: RunSuite, whole: Ran) -> None:
    ran = run("-n", "2", "--nat-seed", str(_SEED), "--nat-report", "flows.html")
    assert "2 workers" in ran.stdout
    assert ran.outcomes == whole.outcomes, ran.stdout


def test_the_runs_report_has_the_flows_of_all_workers(run: RunSuite, checkout: Path) -> None:
    if not (checkout / "flows.html").exists():  # this test runs alone
        run("-n", "2", "--nat-seed", str(_SEED), "--nat-report", "flows.html")
    text = (checkout / "flows.html").read_text(encoding="utf-8")
    data = json.loads(text.partition('id="data">')[2].partition("</script>")[0])
    of_test = {section["title"].partition("::")[2]: section for section in data["sections"]}
    assert {"test_a_greeting_passes", "test_with_anyio[trio]", "test_what_a_user_of_the_nat_would_see"} <= set(of_test)
    failed = of_test["test_what_a_user_of_the_nat_would_see"]
    assert (failed["outcome"], failed["flows"][0]["behaviour"]) == ("failed", True)
    assert data["profiles"][failed["said"]]["name"] == "vmware-fusion-11"


def test_pytest_htmls_report_has_the_ladders(whole: Ran, checkout: Path) -> None:
    text = html.unescape((checkout / "pytest.html").read_text(encoding="utf-8"))
    assert "nat_relay event log" in text
    assert re.search(r"<svg [^>]*aria-label=[^>]*>.*<text [^>]*>RST, by tos-reset</text>", text)


def test_workers_agree_on_a_seed_that_was_not_given(run: RunSuite) -> None:
    ran = run("-n", "2", "-v", "-k", "would_see or never_comes")
    assert {"[gw0] ", "[gw1] "} <= set(re.findall(r"^\[gw\d\] ", ran.stdout, re.MULTILINE))
    seeds = re.findall(r"--nat-seed (\d+)", ran.stdout)
    assert len(seeds) == 2
    assert len(set(seeds)) == 1


def test_the_failing_test_shows_the_log_and_the_line_that_repeats_it(run: RunSuite, whole: Ran) -> None:
    report = re.search(r"\n_+ test_what_a_user_of_the_nat_would_see _+\n(.*?)\n_{3,} ", whole.stdout, re.DOTALL)
    assert report is not None, whole.stdout
    log = re.search(r"\n-+ nat_relay event log -+\n(.*)\Z", report[1], re.DOTALL)
    assert log is not None, report[1]
    told = [
        r"vmware-fusion-11, seed \d+ of this relay alone \(--nat-seed is the run's\):",
        r" +\d+\.\d{3} s  relay started with profile vmware-fusion-11",
        "",
        r"#1 \S+ 127.0.0.1:\d+ asks for 127.0.0.1:\d+ via forward",
        "",
    ]
    assert re.match("\n".join(told), log[1]), log[1]
    drawn = re.findall(r"(SYN, |SYN-ACK|TOS|RST, by tos-reset)", log[1])
    assert drawn == ["SYN, ", "SYN-ACK", "TOS", "RST, by tos-reset"]
    repeat = f'repeat with: pytest "tests/test_blocking.py::test_what_a_user_of_the_nat_would_see" --nat-seed {_SEED}'
    assert log[1].endswith(repeat), log[1]


def test_what_was_left_to_chance_is_repeated_by_the_printed_line(run: RunSuite, whole: Ran) -> None:
    name = next(name for name, outcome in _moods(whole).items() if outcome == "failed")
    line = re.search(rf'repeat with: pytest "(\S+::{re.escape(name)})" --nat-seed (\d+)', whole.stdout)
    assert line is not None, whole.stdout
    again = run(line[1], "--nat-seed", line[2])
    assert again.outcomes == {name: "failed"}
    assert re.findall("moody drew .*", again.stdout) == re.findall(
        "moody drew .*", whole.stdout.split(f"_ {name} _")[1].split("repeat with")[0]
    )


def test_misuse_is_answered_with_a_sentence(whole: Ran) -> None:
    kept = "tests/test_misuse.py::test_used_after_it_ended"
    for sentence in (
        "nat_relay: unknown profile 'vmware-fuson'\nhint: did you mean vmware-fusion, ",
        "nat_relay: tos_reset={'msk': 252}: tos-reset has no setting 'msk'\nhint: did you mean mask? its settings: ",
        "AssertionError: no flow-ended within 0.1 s; what happened:\n",
        f"RuntimeError: the relay has stopped: {kept}, which it was started for, has ended\n",
    ):
        assert sentence in whole.stdout


def test_unittest_needs_no_pytest(python: Path, checkout: Path) -> None:
    done = _run(str(python), "-m", "unittest", "-v", "test_unittest", cwd=checkout / "tests")
    assert done.returncode == 0, done.stderr
    assert "test_in_a_unittest" in done.stderr
    assert "Warning" not in done.stderr


def test_a_suite_that_uses_none_of_it_has_no_relay_loaded(python: Path, tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(
        "import sys\n"
        "def test_loaded():\n"
        "    loaded = {name for name in sys.modules if 'relay' in name.split('.')[0]}\n"
        "    assert loaded == {'pytest_vmnat_relay'}\n"
        "    assert 'site-packages' in sys.modules['pytest_vmnat_relay'].__file__\n"
    )
    done = _run(str(python), "-m", "pytest", "-q", cwd=tmp_path)
    assert done.returncode == 0, done.stdout
