"""A fault inside the relay or a behaviour: it fails the test that met it, unless the ini file says `nat_faults = warn`.

What a client did wrong is no fault here: malformed HTTP is in the event log alone.
"""

from __future__ import annotations

from collections.abc import Generator

import pytest

from relay.log import Record
from relay.pytest_plugin.serving import SERVED

SECTION = "nat_relay faults"
"""What they are called in the report of a test that fails for another reason."""

_MOST = 3  # with their tracebacks; where a behaviour breaks, it does so in every flow


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    result = yield
    _raise(item)
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, object, object]:
    result = yield
    _raise(item)
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed and (text := _told(item)):
        report.sections.append((SECTION, text))
    return report


def _raise(item: pytest.Item) -> None:
    text = _told(item)
    if not text:
        return
    if item.config.getini("nat_faults") == "warn":
        item.warn(pytest.PytestWarning(text))
    else:
        pytest.fail(text, pytrace=False)


def _told(item: pytest.Item) -> str:
    """What has broken since this was called last; empty if nothing has."""
    faults = [fault for served in item.stash.get(SERVED, []) for fault in served.new_faults()]
    lines = [f"nat_relay: {_place(fault)}: {fault.fields['error']}\n{fault.fields['traceback']}" for fault in faults]
    if len(lines) > _MOST:
        lines[_MOST:] = [f"... and {len(lines) - _MOST} more faults; nat_relay.events has them"]
    return "\n".join(lines)


def _place(fault: Record) -> str:
    return f"fault in flow #{fault.flow}" if fault.flow is not None else "fault in the relay"
