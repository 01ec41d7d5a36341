"""The import contracts hold, and an import that they forbid breaks them."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

import relay
from support.programs import clean_environment, run

pytestmark = pytest.mark.system

_PROJECT = Path(__file__).parents[1]
_LINT = str(Path(sys.executable).with_name("lint-imports"))


def _lint(tree: Path) -> tuple[int, str]:
    shutil.copy(_PROJECT / "pyproject.toml", tree)
    outcome = run(_LINT, "--no-cache", env=clean_environment(PYTHONPATH=str(tree)), cwd=tree)
    return outcome.returncode, outcome.stdout + outcome.stderr


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of the package that was installed."""
    shutil.copytree(Path(relay.__file__).parent, tmp_path / "relay")
    return tmp_path


def test_the_contracts_hold(tree: Path) -> None:
    exit_code, told = _lint(tree)
    assert exit_code == 0, told


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("behaviours/tos_reset.py", "import socket"),
        ("protocols/socks5.py", "import time"),
        ("machine/sides.py", "import random"),
        ("machine/machine.py", "import relay.net.kernel_leg"),
        ("net/kernel_leg.py", "import relay.driver"),
        ("net/pump.py", "import relay.machine"),
        ("observe/survey.py", "import relay.profiles"),
        ("loop/engine.py", "import relay.net.pipe"),
        ("driver/flow.py", "import asyncio"),
        ("driver/carrier.py", "import socket"),
        ("driver/legs.py", "import relay.net.kernel_leg"),
        ("frontends/forward.py", "import socket"),
        ("cli/main.py", "import time"),
    ],
)
def test_an_import_that_should_not_be_breaks_them(tree: Path, module: str, line: str) -> None:
    path = tree / "relay" / module
    marker = "from __future__ import annotations\n"
    text = path.read_text()
    assert marker in text
    path.write_text(text.replace(marker, f"{marker}{line}\n", 1))
    exit_code, told = _lint(tree)
    assert exit_code != 0, told


def test_a_module_that_no_layer_names_breaks_them(tree: Path) -> None:
    (tree / "relay" / "somewhere_new.py").write_text("import relay.errors\n")
    exit_code, told = _lint(tree)
    assert exit_code != 0, told
