"""What is tested is what is installed."""

from __future__ import annotations

import os
from importlib.metadata import version
from pathlib import Path

import pytest

import relay
from support.programs import relay as run_relay


@pytest.mark.skipif(os.environ.get("CI") != "true", reason="a developer may test the source folder")
def test_the_wheel_is_under_test_not_the_source_folder() -> None:
    assert "site-packages" in Path(relay.__file__).parts


def test_every_profile_and_the_type_marker_are_installed() -> None:
    package = Path(relay.__file__).parent
    assert (package / "py.typed").exists()
    assert {path.stem for path in (package / "profiles").glob("*.toml")} >= {"transparent", "vmware-fusion-11"}


@pytest.mark.system
def test_the_command_tells_its_version() -> None:
    assert run_relay("--version").stdout == version("vmnat-relay") + "\n"
