"""`--nat-report`: one file for the run, with a section for each test that used a relay, and how the test came out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from plugin.conftest import Suite

pytest_plugins = "pytester"

TESTS = """
    import socket

    def connect(nat):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            with socket.create_connection(nat.forward(*listener.getsockname())), listener.accept()[0]:
                nat.wait_for("flow-connected")

    @pytest.mark.nat_relay(["transparent", "vmware-fusion"])
    def test_one(nat_relay):
        connect(nat_relay)
        assert nat_relay.profile.name == "transparent"

    def test_two(nat_relay, nat_relay_factory):
        connect(nat_relay)
        connect(nat_relay_factory("transparent"))

    def test_shared_first(nat_relay_session):
        connect(nat_relay_session)

    def test_shared_second(nat_relay_session):
        connect(nat_relay_session)

    @pytest.fixture
    def broken(nat_relay):
        connect(nat_relay)
        raise OSError

    def test_setup(broken):
        pass

    def test_without():
        pass
"""


def data_of(path: Path) -> dict[str, Any]:
    text = path.read_text(encoding="utf-8").partition('<script type="application/json" id="data">')[2]
    data: dict[str, Any] = json.loads(text.partition("</script>")[0])
    return data


def test_every_test_that_used_a_relay_has_a_section_for_each(suite: Suite, pytester: pytest.Pytester) -> None:
    result = suite(TESTS, "--nat-report", "report.html")
    result.assert_outcomes(passed=5, failed=1, errors=1)
    result.stdout.fnmatch_lines(["nat_relay: flows of 6 tests are in *report.html"])
    data = data_of(pytester.path / "report.html")
    sections = [
        (each["title"].partition("::")[2], each["outcome"], each["profile"], len(each["flows"]))
        for each in data["sections"]
    ]
    assert sorted(sections) == [
        ("test_one[transparent]", "passed", "transparent", 1),
        ("test_one[vmware-fusion]", "failed", "vmware-fusion-11", 1),
        ("test_setup", "error", "vmware-fusion-11", 1),
        ("test_shared_first", "passed", "vmware-fusion-11", 1),
        ("test_shared_second", "passed", "vmware-fusion-11", 1),
        ("test_two", "passed", "transparent", 1),
        ("test_two", "passed", "vmware-fusion-11", 1),
    ]
    said = {each["profile"]: data["profiles"][each["said"]]["name"] for each in data["sections"]}
    assert said == {"transparent": "transparent", "vmware-fusion-11": "vmware-fusion-11"}
    assert all(flow["from"] > 1.7e9 for each in data["sections"] for flow in each["flows"])


def test_a_run_without_a_relay_says_so(suite: Suite, pytester: pytest.Pytester) -> None:
    suite("def test_without(): pass", "--nat-report", "report.html")
    data = data_of(pytester.path / "report.html")
    assert (data["sections"], data["remarks"]) == ([], ["no test of this run used a relay"])


def test_a_folder_that_is_not_there_is_an_error_before_the_first_test(suite: Suite) -> None:
    result = suite("def test_without(): pass", "--nat-report", "none/report.html")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: --nat-report: there is no folder *none"])


def test_without_the_option_no_report_carries_anything(suite: Suite, pytester: pytest.Pytester) -> None:
    conftest = """
        def pytest_runtest_logreport(report):
            assert not hasattr(report, "nat_report")
    """
    suite("def test_with(nat_relay): pass", conftest=conftest).assert_outcomes(passed=1)
    assert not list(pytester.path.glob("*.html"))
