"""How the command line is parsed: typer's own way, but for what each start would pay for.

typer 0.29 reads values with pydantic, whose import takes longer than that of typer itself. The options here are text,
lists of text, paths, flags and numbers with a parser of their own, and need none of it. Where typer keeps no such
reader (its earlier versions) nothing changes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from typer.core import TyperCommand, TyperGroup

CONTEXT = {"help_option_names": ["-h", "--help"]}


class Command(TyperCommand):
    """One command."""

    def get_params(self, ctx: Any) -> Any:
        return _read_plainly(super().get_params(ctx))


class Group(TyperGroup):
    """The command `relay` itself."""

    def get_params(self, ctx: Any) -> Any:
        return _read_plainly(super().get_params(ctx))


class _PlainReader:
    """Reads an option's value; takes the place of typer's own reader, with the same interface."""

    def __init__(self, option: Any) -> None:
        descriptor = option.type_descriptor
        self._option = option
        self._annotation = descriptor.annotation
        self._parser = descriptor.parameter_info.parser

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        if value is None:
            return () if param.multiple else None
        if self._parser is not None:
            return self._parser(value) if isinstance(value, str) else value
        if isinstance(value, bool) or self._annotation is str:
            return value
        if self._annotation == list[str]:
            return list(value)
        if self._annotation is Path:
            return Path(value)
        self._option._runtime_param = None  # noqa: SLF001
        return self._option.get_runtime_param().coerce(value, param=param, ctx=ctx)


def _read_plainly(options: Any) -> Any:
    """Have these options, `--help` among them, read by a `_PlainReader`."""
    for option in options:
        if getattr(option, "_runtime_param", ...) is None and hasattr(option, "get_runtime_param"):
            option._runtime_param = _PlainReader(option)  # noqa: SLF001 - there is no public way to choose a reader
    return options
