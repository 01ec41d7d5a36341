"""`relay check`: all that is wrong in a configuration, or in a profile, each with its line."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from relay.cli.config_file import FORWARDS, options_by_key, read_value
from relay.cli.prepared import prepare
from relay.config.forward_table import mistakes_in_forward
from relay.config.toml_lines import Path as KeyPath
from relay.config.toml_lines import line_of, lines_of
from relay.errors import ConfigError
from relay.profiles import Mistake, mistakes_in_profile, read_tables

_SYNTAX = re.compile(r"\(at line (\d+), column \d+\)")
_OPTION = re.compile(r"--([a-z-]+)|(profile)(?=: )")
_PROFILE_KEYS = ("title", "extends")


@dataclass(frozen=True, slots=True)
class Found:
    """One mistake."""

    line: int | None
    """Where it is; None where it is about the whole file."""
    says: str
    hint: str

    def in_one_line(self, file: Path) -> str:
        """`FILE:LINE: what is wrong (what to do about it)`."""
        place = f"{file}:{self.line}" if self.line is not None else str(file)
        return f"{place}: {self.says}" + (f" ({self.hint})" if self.hint else "")


def mistakes_in(path: Path, serve: Any) -> list[Found]:
    """All that is wrong in a file, by line; `serve` is the command whose configuration it may be.

    Raises:
        ConfigError: the file cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}", hint="name a configuration, or a profile: a TOML file") from None
    except UnicodeDecodeError as error:
        return [Found(None, f"not UTF-8: {error.reason} at byte {error.start}", "TOML is UTF-8")]
    try:
        table = read_tables(text, str(path))
    except ConfigError as error:
        says = str(error).removeprefix(f"{path}: ")
        return [Found(_line_in(says, text), says, error.hint)]
    is_profile = any(key in table for key in _PROFILE_KEYS)
    found = mistakes_in_profile(path, text) if is_profile else _in_configuration(path, table, serve)
    lines = lines_of(text)
    told = [
        Found(line_of(lines, each.path), str(each.error).removeprefix(f"{path}: "), each.error.hint) for each in found
    ]
    return sorted(told, key=lambda each: each.line or 0)


def _line_in(says: str, text: str) -> int | None:
    """The line that an error of the syntax names; None where it is about the whole file."""
    if at := _SYNTAX.search(says):
        return int(at[1])
    return text.count("\n") + 1 if "at end of document" in says else None


def _in_configuration(path: Path, table: Mapping[str, object], serve: Any) -> Iterator[Mistake]:
    options = options_by_key(serve)
    values: dict[str, object] = {}
    for key, value in table.items():
        wrong = list(_in_forwards(path, key, value))
        if not wrong:
            try:
                values[key] = read_value(key, value, options, where=str(path))
            except ConfigError as error:
                wrong = [Mistake((key,), error)]
        yield from wrong
    yield from _in_values(values, options, serve)


def _in_forwards(path: Path, key: str, value: object) -> Iterator[Mistake]:
    if key in FORWARDS and isinstance(value, list):
        for number, each in enumerate(value):
            if isinstance(each, dict):
                for mistake in mistakes_in_forward(each, where=f"{path}: {key} {number + 1}"):
                    yield Mistake((key, number, *mistake.path), mistake.error)


def _in_values(values: dict[str, object], options: Mapping[str, tuple[str, type]], serve: Any) -> Iterator[Mistake]:
    """What is wrong with values of the right type: what is found is left out, and the rest is looked at anew."""
    keys = {name: key for key, (name, _) in options.items()}
    wanted = inspect.signature(prepare).parameters
    defaults = {name: default for name, default in _defaults_of(serve).items() if name in wanted}
    while True:
        given = {options[key][0]: value for key, value in values.items()}
        try:
            prepare(**{**defaults, **{name: value for name, value in given.items() if name in wanted}})
        except ConfigError as error:
            named = _OPTION.match(str(error))
            key = (named[1] or named[2]) if named else "profile"
            yield Mistake(_place(key, values.get(key), str(error)), _worded(error, key, keys.values()))
            if key not in values:
                return
            _leave_out(values, key, str(error))
        else:
            return


def _place(key: str, value: object, says: str) -> KeyPath:
    if isinstance(value, list):
        named = [(says.index(str(each)), -number) for number, each in enumerate(value) if str(each) in says]
        if named:  # what is wrong is named before what it clashes with; of two that are alike, the second is
            return (key, -min(named)[1])
    return (key,)


def _leave_out(values: dict[str, object], key: str, says: str) -> None:
    value = values[key]
    rest = [each for each in value if str(each) not in says] if isinstance(value, list) else []
    if rest and isinstance(value, list) and len(rest) < len(value):
        values[key] = rest
    else:
        del values[key]


def _worded(error: ConfigError, key: str, known: Any) -> ConfigError:
    """The same, by the key's name instead of the option's."""
    return ConfigError(str(error).removeprefix("--"), hint=error.hint) if key in known else error


def _defaults_of(serve: Any) -> dict[str, Any]:
    return {parameter.name: parameter.default for parameter in serve.params}
