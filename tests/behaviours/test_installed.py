"""Which behaviours there are: the relay's own, and those of other packages, good and bad."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import pytest

import relay
from relay.behaviours import Behaviour, installed_behaviours
from relay.behaviours.tos_reset import TosReset
from relay.errors import BrokenBehaviour
from support.capabilities import missing
from support.programs import RELAY, clean_environment, run

Discover: TypeAlias = Callable[..., dict[str, type[Behaviour]]]

OWN = {
    "close-mapping",
    "link-down-reset",
    "local-ack",
    "local-keepalive",
    "precomplete-handshake",
    "tos-reset",
}

BEHAVIOUR_MODULE = """
from relay.behaviours import Behaviour
from relay.behaviours.tos_reset import TosReset

class Reminder(Behaviour):
    pass

class Mumble(Behaviour):
    pass

class AnotherTosReset(Behaviour):
    pass
AnotherTosReset.name = "tos-reset"

not_a_class = Reminder()
"""


@pytest.fixture
def discover(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Discover]:
    """Leave a package with these entry points where an installer would, and look which behaviours there are."""
    module = "brought_by_a_test"

    def _discover(*entries: str, source: str = BEHAVIOUR_MODULE) -> dict[str, type[Behaviour]]:
        (tmp_path / f"{module}.py").write_text(source, encoding="utf-8")
        metadata = tmp_path / f"{module}-1.0.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n", encoding="utf-8")
        lines = [entry.format(module=module) for entry in entries]
        (metadata / "entry_points.txt").write_text("\n".join(["[relay.behaviours]", *lines]), encoding="utf-8")
        monkeypatch.syspath_prepend(str(tmp_path))
        return dict(installed_behaviours.__wrapped__())

    yield _discover
    sys.modules.pop(module, None)


def test_the_relays_own_are_always_there() -> None:
    assert set(installed_behaviours()) >= OWN
    assert installed_behaviours()["tos-reset"] is TosReset


def test_every_module_of_the_package_brings_the_behaviour_that_it_is_called_after() -> None:
    assert {kind.__module__.rpartition(".")[2].replace("_", "-") for kind in installed_behaviours().values()} >= OWN


def test_a_package_brings_its_own_by_an_entry_point(discover: Discover) -> None:
    found = discover("one = {module}:Reminder", "two = {module}:Mumble")
    assert set(found) == {*installed_behaviours(), "reminder", "mumble"}
    assert found["reminder"].__module__ == "brought_by_a_test"


def test_naming_the_relays_own_again_does_no_harm(discover: Discover) -> None:
    assert discover("again = {module}:TosReset")["tos-reset"] is TosReset


@pytest.mark.parametrize(
    ("entry", "source", "why"),
    [
        (
            "gone = {module}:Missing",
            BEHAVIOUR_MODULE,
            "(brought_by_a_test:Missing) is left out: AttributeError: module 'brought_by_a_test' has no attribute "
            "'Missing'",
        ),
        (
            "broken = {module}:Anything",
            "import a_module_that_is_not_there",
            "is left out: ModuleNotFoundError: No module named 'a_module_that_is_not_there'",
        ),
        (
            "typo = {module}:Typo",
            "from relay.behaviours import Behaviour\nclass Typo(Behaviour):\n    def on_tos_change(self, event): ...",
            "is left out: TypeError: Typo.on_tos_change handles no event; there are: ",
        ),
        (
            "thing = {module}:not_a_class",
            BEHAVIOUR_MODULE,
            "is left out: TypeError: it is no subclass of relay.behaviours.Behaviour",
        ),
        ("path = pathlib:Path", BEHAVIOUR_MODULE, "is left out: TypeError: it is no subclass of"),
        (
            "mine = {module}:AnotherTosReset",
            BEHAVIOUR_MODULE,
            "is left out: TypeError: the name 'tos-reset' is taken; rename the class",
        ),
    ],
)
def test_a_bad_entry_point_is_left_out_with_a_warning_and_the_others_are_there(
    discover: Discover, entry: str, source: str, why: str
) -> None:
    with pytest.warns(BrokenBehaviour) as caught:
        found = discover(entry, *(["good = {module}:Reminder"] if source is BEHAVIOUR_MODULE else []), source=source)
    assert len(caught) == 1
    text = str(caught[0].message)
    assert text.startswith(f"the behaviour of entry point {entry.split(maxsplit=1)[0]!r} ")
    assert why in text
    assert "\n" not in text
    good = {"reminder"} if source is BEHAVIOUR_MODULE else set()
    assert set(found) == {*installed_behaviours(), *good}
    assert found["tos-reset"] is TosReset


USE_IT = """
from relay.actions import Dial, Grant, SendRst, StartTimer
from relay.address import Endpoint
from relay.events import ConnectRequested, DialSucceeded, Side, TimerFired
from relay.profiles import load_profile
from relay.testing.playbook import play

by_file = load_profile("patience.toml")
play(
    by_file,
    (ConnectRequested(0.0, Endpoint("192.0.2.1", 80), Side.INTERNAL), [Dial()]),
    (DialSucceeded(0.1), [Grant(), (StartTimer("patience", 1.5), "lose-patience")]),
    (TimerFired(1.6, "patience"), [(SendRst(Side.INTERNAL), "lose-patience")]),
)
by_setting = load_profile("transparent", ["lose-patience.after_s=0.25"])
for profile in (by_file, by_setting):
    print(profile.quirks[-1].name, dict(profile.quirks[-1].settings), profile.quirks[-1].status)
"""

USER_PROFILE = """
title = "A NAT that loses its patience"
[lose-patience]
after_s = 1.5
goodbye = "rst"
"""


@pytest.fixture(scope="module")
def third_party(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which pip has installed a package that brings a behaviour."""
    for tool in ("pip", "hatchling"):
        if importlib.util.find_spec(tool) is None:
            missing(f"{tool} is not installed: a package cannot be built here")
    source = tmp_path_factory.mktemp("source") / "third_party"
    shutil.copytree(Path(__file__).parent / "third_party", source)
    target = tmp_path_factory.mktemp("installed")
    options = ["--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--disable-pip-version-check"]
    command = [sys.executable, "-m", "pip", "install", *options, "--target", str(target), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    return target


def run_with(third_party: Path, script: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(third_party), str(Path(relay.__file__).parents[1])])
    return subprocess.run(
        [sys.executable, "-c", script],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.system
def test_an_installed_package_adds_a_behaviour_without_a_change_to_the_relay(third_party: Path, tmp_path: Path) -> None:
    (tmp_path / "patience.toml").write_text(USER_PROFILE, encoding="utf-8")
    done = run_with(third_party, USE_IT, tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "lose-patience {'after_s': 1.5, 'goodbye': 'rst'} assumed",
        "lose-patience {'after_s': 0.25, 'goodbye': 'fin'} assumed",
    ]


@pytest.mark.system
def test_an_installed_packages_settings_are_checked_like_any_others(third_party: Path, tmp_path: Path) -> None:
    script = (
        "from relay.errors import ConfigError\nfrom relay.profiles import load_profile\n"
        "try:\n    load_profile('transparent', ['lose-patience.goodbye=bye'])\n"
        "except ConfigError as fault:\n    print(fault)"
    )
    done = run_with(third_party, script, tmp_path)
    assert done.stdout == "--set lose-patience.goodbye=bye: 'bye' is not 'fin' or 'rst'\n", done.stderr


@pytest.mark.system
@pytest.mark.parametrize("arguments", ["profiles", "explain vmware-fusion", "serve --listen 127.0.0.1:x"])
def test_a_broken_package_costs_a_command_one_line_and_nothing_else(arguments: str, tmp_path: Path) -> None:
    metadata = tmp_path / "broken-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[relay.behaviours]\nbroken = no_such_module:Broken\n")
    plain, done = (
        run(*RELAY, *arguments.split(), env=clean_environment(**env)) for env in ({}, {"PYTHONPATH": str(tmp_path)})
    )
    assert (done.returncode, done.stdout) == (plain.returncode, plain.stdout)
    lines = done.stderr.splitlines()
    if "serve" not in arguments:
        assert lines == [
            "relay: the behaviour of entry point 'broken' (no_such_module:Broken) is left out: "
            "ModuleNotFoundError: No module named 'no_such_module'"
        ]
