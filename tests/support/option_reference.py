"""The references of commands' options in the docs, made from the options themselves.

`python -m support.option_reference`, in `tests`, writes them.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import typer

from relay.cli.app import app
from relay.cli.config_file import options_by_key

DOCS = Path(__file__).parents[2] / "docs"
PAGES = {"serve": "command-line.md", "run": "wire.md", "probe": "probe.md", "probe server": "probe.md"}
"""Where each command's options are listed."""

_END = "<!-- end -->\n"
_TOML = {bool: "true or false", int: "integer", float: "number", str: "string", list: "array of strings"}


@cache
def commands() -> dict[str, Any]:
    """Every command, by what stands behind `relay`."""
    found = dict(typer.main.get_command(app).commands)  # type: ignore[attr-defined]
    probe = found["probe"].commands
    return found | {"probe": probe["client"], "probe server": probe["server"]}


def reference(command: str) -> str:
    """What the page ought to say."""
    lines = _with_keys(commands()[command]) if command == "serve" else _plain(commands()[command])
    return "\n".join(lines) + "\n"


def written(command: str) -> str:
    """What it says."""
    return _page(command).read_text().partition(_begin(command))[2].partition(_END)[0]


def write() -> None:
    for command in PAGES:
        before, begin, rest = _page(command).read_text().partition(_begin(command))
        assert begin, f"{_page(command)} has no line {_begin(command)}"
        _page(command).write_text(before + begin + reference(command) + _END + rest.partition(_END)[2])


def _page(command: str) -> Path:
    return DOCS / PAGES[command]


def _begin(command: str) -> str:
    return f"<!-- options of {command}: written by tests/support/option_reference.py -->\n"


def _with_keys(command: Any) -> Iterator[str]:
    keys = options_by_key(command)
    yield "| option, and key | in the file | default | meaning |"
    yield "| --- | --- | --- | --- |"
    for option in command.params:
        key = option.opts[0].removeprefix("--")
        kind = _TOML.get(keys[key][1], "string") if key in keys else "-"
        yield f"| {_spelt(option)} | {kind} | {_default(option)} | {option.help} |"


def _plain(command: Any) -> Iterator[str]:
    yield "| option | default | meaning |"
    yield "| --- | --- | --- |"
    for option in command.params:
        if option.param_type_name == "option" and not option.hidden:
            yield f"| {_spelt(option)} | {_default(option)} | {option.help} |"


def _spelt(option: Any) -> str:
    value = (option.metavar or "").replace("|", "\\|")
    return f"`{', '.join(option.opts)}{' ' if value else ''}{value}`"


def _default(option: Any) -> str:
    if option.default is None or option.default is False or option.default == "":
        return ""
    return f"`{option.default:g}`" if isinstance(option.default, float) else f"`{option.default}`"


if __name__ == "__main__":
    write()
