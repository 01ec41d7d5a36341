"""A host that has this checkout's relay to offer, as a package registry would."""

from __future__ import annotations

import importlib.util
import os
import sys
import sysconfig
from pathlib import Path

import pytest

from support.capabilities import missing, need_program
from support.programs import clean_environment, run

PROJECT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def fresh_host(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a host where pip finds this checkout's relay, and need not fetch what it depends on."""
    if sys.platform == "win32":
        missing("the pages' commands are for a Unix shell")
    need_program("bash")
    for tool in ("pip", "hatchling", "editables"):
        if importlib.util.find_spec(tool) is None:
            missing(f"{tool} is not installed: a package cannot be built here")
    home = tmp_path_factory.mktemp("host")
    wheels, others = home / "wheels", home / "others"
    options = ("--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--disable-pip-version-check")
    done = run(sys.executable, "-m", "pip", "wheel", *options, "-w", str(wheels), str(PROJECT), timeout_s=100)
    assert done.returncode == 0, done.stderr
    others.mkdir()
    for installed in Path(sysconfig.get_path("purelib")).iterdir():
        if installed.suffix != ".pth" and not installed.name.startswith(
            ("relay", "vmnat_relay", "pytest_vmnat_relay", "pip", "setuptools")
        ):
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
