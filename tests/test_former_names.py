"""Modules under their former names: for one release they give what they had, and say the new name."""

from __future__ import annotations

import importlib
import sys

import pytest

import relay.config.options
import relay.log.memory
import relay.log.text


@pytest.mark.parametrize(
    ("former", "home", "names"),
    [
        ("relay.eventlog", relay.log, ["COMMON_FIELDS", "FIELDS", "EventLog", "EventType", "Record"]),
        ("relay.options", relay.config.options, ["RelayOptions", "Settings", "configured", "from_keywords"]),
        ("relay.textlog", relay.log.text, ["TextLines", "describe"]),
        ("relay.records", relay.log.memory, ["FlowStory", "Records", "as_text"]),
    ],
)
def test_a_former_module_warns_and_gives_the_same_objects(former: str, home: object, names: list[str]) -> None:
    sys.modules.pop(former, None)
    with pytest.warns(DeprecationWarning, match=rf"{former} is {home.__name__} now") as warned:  # type: ignore[attr-defined]
        module = importlib.import_module(former)
    assert [getattr(module, name) for name in names] == [getattr(home, name) for name in names]
    assert len(warned) == 1
