"""The reference of `relay serve`'s options in docs/command-line.md, made from the options themselves.

`python -m support.option_reference`, in `tests`, writes it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from relay.cli.app import app
from relay.cli.config_file import options_by_key

PAGE = Path(__file__).parents[2] / "docs" / "command-line.md"
_BEGIN, _END = "<!-- options of serve: written by tests/support/option_reference.py -->\n", "<!-- end -->\n"
_TOML = {bool: "true or false", int: "integer", float: "number", str: "string", list: "array of strings"}


def reference() -> str:
    """What the page ought to say."""
    return "\n".join(_lines()) + "\n"


def written() -> str:
    """What it says."""
    return PAGE.read_text().partition(_BEGIN)[2].partition(_END)[0]


def write() -> None:
    before, begin, rest = PAGE.read_text().partition(_BEGIN)
    PAGE.write_text(before + begin + reference() + _END + rest.partition(_END)[2])


def _lines() -> Iterator[str]:
    command: Any = typer.main.get_command(app).commands["serve"]  # type: ignore[attr-defined]
    keys = options_by_key(command)
    yield "| option, and key | in the file | default | meaning |"
    yield "| --- | --- | --- | --- |"
    for parameter in command.params:
        key = parameter.opts[0].removeprefix("--")
        kind = _TOML.get(keys[key][1], "string") if key in keys else "-"
        default = (
            ""
            if parameter.default in (None, False)
            else f"`{parameter.default:g}`"
            if isinstance(parameter.default, float)
            else f"`{parameter.default}`"
        )
        value = (parameter.metavar or "").replace("|", "\\|")
        yield f"| `--{key}{' ' if value else ''}{value}` | {kind} | {default} | {parameter.help} |"


if __name__ == "__main__":
    write()
