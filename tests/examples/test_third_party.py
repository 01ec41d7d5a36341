"""The example of a behaviour that another package brings: it is installed by pip, found and used."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import sys
from pathlib import Path

import pytest

import relay
from support.capabilities import missing
from support.examples import EXAMPLES, assert_told, play
from support.programs import clean_environment, run
from support.programs import relay as run_relay

PACKAGE = EXAMPLES / "third_party_behaviour"
FILES = {"flaky_line.py", "pyproject.toml", "test_flaky_line.py", "try_it.py"}


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What PYTHONPATH must be for the package to be installed."""
    for tool in ("pip", "hatchling"):
        if importlib.util.find_spec(tool) is None:
            missing(f"{tool} is not installed: a package cannot be built here")
    source, target = tmp_path_factory.mktemp("source") / "package", tmp_path_factory.mktemp("installed")
    shutil.copytree(PACKAGE, source, ignore=shutil.ignore_patterns("__pycache__"))
    options = ("--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--disable-pip-version-check")
    done = run(sys.executable, "-m", "pip", "install", *options, "--target", str(target), str(source), timeout_s=100)
    assert done.returncode == 0, done.stderr
    return os.pathsep.join([str(target), str(Path(relay.__file__).parents[1])])


def test_the_package_is_what_its_test_takes_it_for() -> None:
    assert {file.name for file in PACKAGE.iterdir() if file.is_file()} == FILES


def test_a_seed_repeats_what_chance_did_and_another_does_not(path: str) -> None:
    done = play("third_party_behaviour/try_it.py", PYTHONPATH=path)
    assert_told(done, *[r"seed \d: [R.]{12}"] * 3)
    first, again, other = (line.partition(": ")[2] for line in done.stdout.splitlines())
    assert first == again != other
    assert {*first} == {"R", "."}


def test_its_own_test_passes(path: str) -> None:
    arguments = ("-q", "-c", os.devnull, "-p", "no:cacheprovider", str(PACKAGE / "test_flaky_line.py"))
    done = run(sys.executable, "-m", "pytest", *arguments, env=clean_environment(PYTHONPATH=path))
    assert (done.returncode, done.stdout.splitlines()[-1].partition(" in ")[0]) == (0, "2 passed"), done.stdout


def test_the_command_line_explains_it_and_checks_its_settings(path: str) -> None:
    explained = run_relay("explain", "transparent", "--set", "flaky-line.share=0.5", PYTHONPATH=path)
    assert re.search(r"^flaky-line .*\n  Reset some flows", explained.stdout, re.MULTILINE), explained
    refused = run_relay("explain", "transparent", "--set", "flaky-line.share=1.5", PYTHONPATH=path)
    assert refused.returncode == 2
    assert "flaky-line.share=1.5" in refused.stderr


def test_without_the_package_the_example_says_what_is_missing() -> None:
    done = play("third_party_behaviour/try_it.py")
    assert done.returncode == 1
    assert "unknown behaviour 'flaky-line'" in done.stderr
    assert "Traceback" not in done.stderr
