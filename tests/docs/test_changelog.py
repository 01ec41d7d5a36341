"""The changelog names every former name that still works, and the version that is built."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import relay

CHANGELOG = (Path(__file__).parents[2] / "docs" / "CHANGELOG.md").read_text(encoding="utf-8")
DEPRECATED = CHANGELOG.partition("\n### Deprecated\n")[2].partition("\n## ")[0]


def former_names_in(tree: ast.AST) -> Iterator[str]:
    """The names that a module takes for one release: its tables of them, and what it warns of by itself."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict):
            if any(isinstance(target, ast.Name) and target.id.startswith("_FORMER") for target in node.targets):
                yield from _keys(node.value)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            if node.func.id == "former_names":
                yield from _keys(node.args[1])
            elif node.func.id == "warn_of_former_name" and isinstance(node.args[0], ast.Constant):
                yield str(node.args[0].value)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found = re.match(r"(relay\.\w+) is (relay[\w.]+) now$", node.value)
            if found:
                yield found[1]


def _keys(table: ast.expr) -> Iterator[str]:
    assert isinstance(table, ast.Dict)
    yield from (str(key.value) for key in table.keys if isinstance(key, ast.Constant))


def test_every_former_name_is_in_the_changelog() -> None:
    sources = Path(relay.__file__).parent.rglob("*.py")
    former = {name for source in sources for name in former_names_in(ast.parse(source.read_text(encoding="utf-8")))}
    assert len(former) > 10
    assert {name for name in former if not re.search(rf"[`.]{re.escape(name)}`", DEPRECATED)} == set()


def test_the_version_has_its_section() -> None:
    assert f"\n## [{version('vmnat-relay')}]" in CHANGELOG
