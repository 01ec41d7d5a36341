"""No example without a test, a docstring that tells how to run it, and a line in the list of examples."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from support.examples import EXAMPLES

FOUND = sorted(path.name for path in EXAMPLES.iterdir() if not path.name.startswith((".", "__")))
PROGRAMS = [name for name in FOUND if name.endswith(".py") and name != "unlucky_web_server.py"]
TESTS = Path(__file__).parent


def named_in(path: Path) -> set[str]:
    """Every string of a test file's code, and what a path in it starts with."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    strings = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    return strings | {text.partition("/")[0] for text in strings}


@pytest.mark.parametrize("name", FOUND)
def test_every_example_is_named_in_a_test(name: str) -> None:
    assert any(name in named_in(path) for path in TESTS.glob("test_*.py"))


def test_the_readme_has_one_line_for_each_and_for_nothing_else() -> None:
    lines = (EXAMPLES / "README.md").read_text(encoding="utf-8").splitlines()
    listed = [line.partition("](")[2].partition(")")[0] for line in lines if line.startswith("| [")]
    assert sorted([*listed, "README.md"]) == FOUND


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_programs_docstring_tells_how_to_run_it_and_where_it_works(name: str) -> None:
    told = ast.get_docstring(ast.parse((EXAMPLES / name).read_text(encoding="utf-8"))) or ""
    assert f"python {name}" in told or f"python -m unittest -v {name.removesuffix('.py')}" in told
    assert "Linux" in told or "every system" in told
