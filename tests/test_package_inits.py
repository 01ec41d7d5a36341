"""A package's `__init__.py` says what the package is and what it offers; what it does stands in modules with names."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import relay

_ROOT = Path(relay.__file__).parent
_INITS = sorted(_ROOT.rglob("__init__.py"))
# Every run of pytest imports the top level, so it imports what it offers when that is asked for.
_LAZY_EXPORTS = ("_HOME", "__getattr__", "__dir__")


def names_of(statement: ast.stmt) -> Iterator[str]:
    """What a statement defines or does, beside a docstring and imports."""
    match statement:
        case ast.Expr(value=ast.Constant(value=str())) | ast.Import() | ast.ImportFrom():
            return
        case ast.If(test=test, body=body) if "TYPE_CHECKING" in ast.unparse(test):
            for each in body:
                yield from names_of(each)
        case ast.Assign(targets=[ast.Name(id=name)]) | ast.FunctionDef(name=name):
            yield name
        case _:
            yield ast.unparse(statement)


@pytest.mark.parametrize("path", _INITS, ids=lambda path: str(path.parent.relative_to(_ROOT.parent)))
def test_it_only_re_exports(path: Path) -> None:
    defined = {name for statement in ast.parse(path.read_text()).body for name in names_of(statement)}
    assert defined <= {"__all__", *(_LAZY_EXPORTS if path.parent == _ROOT else ())}


def test_every_package_is_looked_at() -> None:
    assert len(_INITS) > 15
