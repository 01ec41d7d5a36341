"""`docs/new-behaviour.md` does what it says, word for word, and lists every event and action there is."""

from __future__ import annotations

import dataclasses
import importlib.util
import inspect
import os
import re
import sys
import sysconfig
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from relay import actions, events
from relay.actions import Action
from relay.behaviours._api import HANDLERS
from relay.events import Event
from support.capabilities import missing, need_program
from support.page import follow
from support.programs import clean_environment, run

EVENTS = "| event | its handler | what happened |\n| --- | --- | --- |\n"
ACTIONS = "| action | what it does |\n| --- | --- |\n"
PROJECT = Path(__file__).parents[2]
PAGE = (PROJECT / "docs" / "new-behaviour.md").read_text(encoding="utf-8")


@pytest.fixture
def fresh_host(tmp_path: Path) -> dict[str, str]:
    """The environment of a host where pip finds this checkout's relay, and need not fetch what it depends on."""
    need_program("bash")
    for tool in ("pip", "hatchling", "editables"):
        if importlib.util.find_spec(tool) is None:
            missing(f"{tool} is not installed: a package cannot be built here")
    wheels, others = tmp_path / "wheels", tmp_path / "others"
    options = ("--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--disable-pip-version-check")
    done = run(sys.executable, "-m", "pip", "wheel", *options, "-w", str(wheels), str(PROJECT), timeout_s=100)
    assert done.returncode == 0, done.stderr
    others.mkdir()
    for installed in Path(sysconfig.get_path("purelib")).iterdir():
        if installed.suffix != ".pth" and not installed.name.startswith(("relay", "vmnat_relay", "pip", "setuptools")):
            (others / installed.name).symlink_to(installed)
    path = Path(sys.executable).parent
    env = clean_environment(
        PATH=f"{path}:{os.environ['PATH']}",
        PYTHONPATH=str(others),
        PIP_NO_INDEX="1",
        PIP_FIND_LINKS=str(wheels),
        PIP_NO_BUILD_ISOLATION="0",  # pip's way to switch it off
        PIP_DISABLE_PIP_VERSION_CHECK="1",
    )
    return {name: value for name, value in env.items() if not name.startswith(("PYTEST_", "COV_", "VIRTUAL_ENV"))}


@pytest.mark.system
@pytest.mark.timeout(300)
def test_the_page_does_what_it_says(tmp_path: Path, fresh_host: dict[str, str]) -> None:
    home = tmp_path / "reader"
    home.mkdir()
    follow(PAGE, home, fresh_host, timeout_s=240)


def kinds_in(module: ModuleType, base: type) -> list[type]:
    """The events, or actions, in the order in which the module has them."""
    found = [value for value in vars(module).values() if isinstance(value, type) and issubclass(value, base)]
    return [kind for kind in found if kind is not base]


def written(kind: Any) -> str:
    """How it is made: its name and fields, with their defaults."""
    fields = [
        field.name if field.default is dataclasses.MISSING else f"{field.name}={field.default}"
        for field in dataclasses.fields(kind)
    ]
    return f"`{kind.__name__}({', '.join(fields)})`"


def first_line(kind: type) -> str:
    return (inspect.getdoc(kind) or "").partition("\n")[0]


def test_the_page_lists_every_event_and_action_with_the_first_line_of_its_docstring() -> None:
    handlers = {event: name for name, event in HANDLERS.items()}
    events_table = EVENTS + "".join(
        f"| {written(event)} | `{handlers[event]}` | {first_line(event)} |\n" for event in kinds_in(events, Event)
    )
    actions_table = ACTIONS + "".join(
        f"| {written(action)} | {first_line(action)} |\n" for action in kinds_in(actions, Action)
    )
    tables = re.findall(r"(?:^\|.*\n)+", PAGE.partition("\n## Events and actions\n")[2], re.MULTILINE)
    assert tables == [events_table, actions_table]
