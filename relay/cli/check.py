"""`relay check`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from relay.cli.terminal import tell


def check(
    context: typer.Context,
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="Configurations for `relay serve --config`, or profiles.")
    ],
) -> None:
    """List every mistake in a configuration or a profile, by line.

    The exit status is 2 if there is one, else 0. Opens no port.
    """
    from relay.cli.reports.mistakes import mistakes_in
    from relay.printable import escape_unprintable

    root: Any = context.find_root().command
    wrong = 0
    for file in files:
        found = mistakes_in(file, root.commands["serve"])
        wrong += len(found)
        for each in found:
            tell(escape_unprintable(each.in_one_line(file)))
    if wrong:
        raise typer.Exit(2)
