"""Runs of pytest inside a test: the suite of somebody who has the relay installed."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable
from typing import TypeAlias

import pytest

from conftest import BACKENDS
from relay.testing import serve_in_thread
from support.capabilities import missing

collect_ignore = ["sample_project"]  # it is run from outside, in an environment of its own

Suite: TypeAlias = Callable[..., pytest.RunResult]


@pytest.fixture(scope="session")
def _all_imported() -> None:
    """What is imported in here stays, while pytester forgets what a run of its own has imported."""
    for backend in BACKENDS:
        with serve_in_thread(backend=backend):
            pass


@pytest.fixture
def suite(pytester: pytest.Pytester, _all_imported: None) -> Suite:
    """Run a module, test_it.py, with these arguments of pytest's, in a project whose warnings are errors."""

    if sys.platform != "linux":
        missing("what most profiles need to see is seen on Linux alone, and the fixtures are strict")

    def run(source: str, *arguments: str, ini: str = "", conftest: str = "") -> pytest.RunResult:
        pytester.makefile(".ini", pytest=f"[pytest]\nfilterwarnings = error\n{textwrap.dedent(ini)}")
        pytester.makeconftest(textwrap.dedent(conftest))
        pytester.makepyfile(test_it="import pytest\n" + textwrap.dedent(source))
        # Hypothesis imports itself at the end of every run, which takes seconds.
        without = (f"-pno:{plugin}" for plugin in ("cacheprovider", "cov", "hypothesispytest"))
        return pytester.runpytest_inprocess("-v", *without, *arguments)

    return run


def outcomes(result: pytest.RunResult) -> dict[str, str]:
    """Each test of test_it.py and how it came out: passed, failed, error or skipped."""
    lines = (line.partition("::")[2].split() for line in result.outlines if line.startswith("test_it.py::"))
    words = {"PASSED", "FAILED", "ERROR", "SKIPPED"}
    return {line[0]: line[1].lower() for line in lines if len(line) > 1 and line[1] in words}
