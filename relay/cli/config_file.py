"""`relay serve --config FILE`: a TOML file with what may also stand on the command line.

    listen = "127.0.0.1:1080"
    forward = ["2222:192.0.2.1:22"]
    set = ["tos-reset.mask=0xfc"]
    idle-timeout = 300
    strict = true

    [[forward]]                      # in the place of `forward = [...]`; also `[[inbound]]`
    listen = 16379
    target = "redis.test:6379"
    [forward.latency]                # faults of these connections alone
    delay_s = 0.1

A key is an option's long name without its dashes. Repeatable options take an array. What stands on the command line or
in the environment comes before what stands here. Paths are relative to the current directory, as in the options.
"""

from __future__ import annotations

import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Union, cast, get_args, get_origin, get_type_hints

from relay.cli.sources import FILE_KEY
from relay.errors import ConfigError

FORWARDS = ("forward", "inbound")
"""The keys that may also be arrays of tables."""
_NOUNS: Mapping[type, str] = {
    bool: "true or false",
    int: "an integer",
    float: "a number",
    str: "a string",
    Path: "a string",
    list: "an array of strings",
}


def take_config_file(context: Any, path: Path | None) -> Path | None:
    """Have a file's values stand in for options that are not given; the callback of `--config`."""
    if path is not None and not context.resilient_parsing:
        context.meta[FILE_KEY] = str(path)
        context.default_map = read_config_file(path, options_by_key(context.command))
    return path


def options_by_key(command: Any) -> dict[str, tuple[str, type]]:
    """What may stand in a file: by key, the parameter's name and the type of its value."""
    hints = get_type_hints(command.callback)
    return {
        parameter.opts[0].removeprefix("--"): (parameter.name, _plain(hints[parameter.name]))
        for parameter in command.params
        if parameter.name in hints and parameter.opts[0] != "--config"
    }


def read_config_file(path: Path, options: Mapping[str, tuple[str, type]]) -> dict[str, object]:
    """The values of a file, by the parameters' names.

    Raises:
        ConfigError: it cannot be read, has a key that is no option, or a value of another type.
    """
    from relay.profiles import read_tables

    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"--config: cannot read {path}: {error.strerror}", hint="name a TOML file") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8: {error.reason} at byte {error.start}", hint="TOML is UTF-8") from None
    table = read_tables(text, str(path))
    read = {key: read_value(key, value, options, where=str(path)) for key, value in table.items()}
    return {options[key][0]: value for key, value in read.items()}


def read_value(key: str, value: object, options: Mapping[str, tuple[str, type]], *, where: str) -> object:
    """The value of a key of the file, as the option takes it.

    Raises:
        ConfigError: the key is no option, or the value is of another type.
    """
    if key not in options:
        from relay.settings import nearest

        raise ConfigError(
            f"{where}: unknown key {key!r}", hint=nearest(key.replace("_", "-"), options, what="the keys")
        )
    kind = options[key][1]
    if key in FORWARDS and isinstance(value, list):
        value = [_as_forward(each, f"{where}: {key} {number}") for number, each in enumerate(value, 1)]
    if not _fits(value, kind):
        raise ConfigError(
            f"{where}: {key}: {value!r} is not {_NOUNS[kind]}", hint=f"see --{key} in `relay serve --help`"
        )
    return value


def _as_forward(each: object, where: str) -> object:
    if not isinstance(each, dict):
        return each
    from relay.config.forward_table import forward_text

    return forward_text(each, where=where)


def _fits(value: object, kind: type) -> bool:
    if kind is list:
        return isinstance(value, list) and all(isinstance(each, str) for each in value)
    if kind is float:
        return type(value) in {int, float}
    return type(value) is (str if kind is Path else kind)


def _plain(hint: Any) -> type:
    """`list` of `Optional[list[str]]`, `str` of `str`."""
    if get_origin(hint) in {Union, types.UnionType}:
        hint = next(each for each in get_args(hint) if each is not type(None))
    return cast("type", get_origin(hint) or hint)
