"""The examples of idle connections: each shows its bug and its remedy behind three NATs, as any user."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from support.capabilities import missing, need_program
from support.examples import EXAMPLES, is_root
from support.programs import as_ordinary_user, clean_environment, run

FOLDER = EXAMPLES / "idle_connections"
NATS = ("aws-nat-gateway", "docker-desktop", "azure-load-balancer")
BUGS_AND_REMEDIES = {
    "test_connection_pool.py": (
        "test_a_pool_hands_out_a_dead_connection",
        "test_a_pool_that_checks_connects_anew",
        "test_a_pool_with_keepalive_keeps_its_connection",
    ),
    "test_redis.py": ("test_a_subscriber_without_keepalive_loses_a_message", "test_one_with_keepalive_gets_it"),
    "test_slow_response.py": (
        "test_a_request_that_waits_for_its_answer_hears_nothing",
        "test_a_job_that_the_client_asks_about_each_minute_gets_done",
    ),
    "test_websocket.py": ("test_a_websocket_that_waits_gets_no_news", "test_one_with_pings_gets_them"),
}
ALL = {(f, f"{test}[{nat}]") for f, tests in BUGS_AND_REMEDIES.items() for test in tests for nat in NATS}
OF_ROOT = {(f, name) for f, name in ALL if f == "test_connection_pool.py" and "azure" in name and "keeps" not in name}
"""Where the kernel must not acknowledge what a silent NAT has lost."""
Passed = set[tuple[str, str]]


@pytest.fixture(scope="module")
def plays() -> Iterator[dict[str, Future[Passed]]]:
    """All of them, as this process's user and as an ordinary user, at the same time."""
    if sys.platform != "linux":
        missing("needs Linux")
    need_program("redis-server")
    if shutil.which("initdb") is None and not list(Path("/usr/lib/postgresql").glob("*/bin/initdb")):
        missing("PostgreSQL is not installed")
    users = {"tester": ()} | ({"ordinary user": as_ordinary_user()} if is_root() else {})
    with ThreadPoolExecutor() as pool:
        yield {user: pool.submit(_passed, prefix) for user, prefix in users.items()}


def test_there_is_no_other_file() -> None:
    names = {file.name for file in FOLDER.iterdir() if file.suffix}
    assert names == {*BUGS_AND_REMEDIES, "README.md", "conftest.py"}


def test_each_bug_and_each_remedy_is_seen_behind_each_nat(plays: dict[str, Future[Passed]]) -> None:
    assert plays["tester"].result() == (ALL if is_root() else ALL - OF_ROOT)


def test_an_ordinary_user_sees_all_but_what_the_kernel_would_acknowledge(plays: dict[str, Future[Passed]]) -> None:
    passed = plays["ordinary user" if is_root() else "tester"].result()
    assert passed in (ALL - OF_ROOT, ALL)  # older kernels let anybody attach a socket filter to TCP


def _passed(prefix: tuple[str, ...]) -> Passed:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o777)
        options = ("-q", "-c", os.devnull, "-p", "no:cacheprovider", "--basetemp=base", "--junitxml=report.xml")
        command = (*prefix, sys.executable, "-m", "pytest", *options, str(FOLDER))
        done = run(*command, timeout_s=100, cwd=folder, env=clean_environment(PYTHONDONTWRITEBYTECODE="1"))
        assert done.returncode == 0, done.stdout + done.stderr
        cases = [case for case in ET.parse(folder / "report.xml").iter("testcase") if not list(case)]  # noqa: S314
    return {(f"{case.attrib['classname'].rpartition('.')[2]}.py", case.attrib["name"]) for case in cases}
