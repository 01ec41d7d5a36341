"""How the command line is parsed: typer's own way, but for what each start would pay for.

typer 0.29 reads values with pydantic, whose import takes longer than that of typer itself. The options here are text,
lists of text, paths, flags and numbers with a parser of their own, and need none of it. In the help it puts arguments
in braces, and Python's types behind them: here they stand as they are named. Where typer does neither (its earlier
versions) nothing changes.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from typer.core import TyperCommand, TyperGroup

from relay.cli.sources import misspelt_variables, named_by_source
from relay.cli.terminal import complain
from relay.errors import ConfigError

_YES, _NO = ("1", "true", "t", "yes", "y", "on"), ("0", "false", "f", "no", "n", "off")
_FLAGS = dict.fromkeys(_YES, True) | dict.fromkeys(_NO, False)
CONTEXT = {"help_option_names": ["-h", "--help"]}


class Command(TyperCommand):
    """One command. Its errors name what the user wrote: the option, the environment variable, or the file's key."""

    def get_params(self, ctx: Any) -> Any:
        return _show_plainly(_read_plainly(super().get_params(ctx)))

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        with named_by_source(ctx):
            return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        with named_by_source(ctx):
            return super().invoke(ctx)


class Group(TyperGroup):
    """The command `relay` itself."""

    def get_params(self, ctx: Any) -> Any:
        return _read_plainly(super().get_params(ctx))

    def invoke(self, ctx: Any) -> Any:
        for name, meant in misspelt_variables(self.commands.values()):
            complain(f"the environment variable {name} sets nothing", f"did you mean {meant}?")
        return super().invoke(ctx)


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
            return self._parsed(value, ctx) if isinstance(value, str) else value
        if isinstance(value, bool) or self._annotation is str:
            return value
        if self._annotation is bool:
            return self._flag(str(value))
        if self._annotation == list[str]:
            return list(value)
        if self._annotation is Path:
            return Path(value)
        self._option._runtime_param = None  # noqa: SLF001
        return self._option.get_runtime_param().coerce(value, param=param, ctx=ctx)

    def _parsed(self, text: str, ctx: Any) -> Any:
        """A number; an error says which command's help explains it."""
        try:
            return self._parser(text)
        except ConfigError as error:
            raise ConfigError(str(error), hint=f"{error.hint}; see `{ctx.command_path} --help`") from None

    def _flag(self, text: str) -> bool:
        """A flag's environment variable."""
        option = self._option.opts[0]
        if (value := _FLAGS.get(text.strip().lower())) is None:
            raise ConfigError(f"{option}: {text!r} is not true or false", hint="give true or false, or 1 or 0")
        return value


def _read_plainly(options: Any) -> Any:
    """Have these options, `--help` among them, read by a `_PlainReader`."""
    for option in options:
        if getattr(option, "_runtime_param", ...) is None and hasattr(option, "get_runtime_param"):
            option._runtime_param = _PlainReader(option)  # noqa: SLF001 - there is no public way to choose a reader
    return options


def _show_plainly(options: Any) -> Any:
    """Have arguments, among these, shown by their names alone."""
    for option in options:
        if option.param_type_name == "argument" and option.metavar and hasattr(option, "_usage_display_name"):
            optional = not (option.required or option.metavar.startswith("["))
            shown = f"[{option.metavar}]" if optional else option.metavar
            option._usage_display_name = partial(str, shown)  # noqa: SLF001 - nor one to choose its words
            option.display_type_rich = _no_type
    return options


def _no_type(ctx: Any) -> None:
    return None
