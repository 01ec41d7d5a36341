"""`relay check`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from relay.cli.terminal import tell


def check(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="Configurations for `relay serve --config`, or profiles.")
    ],
) -> None:
    """Say what is wrong in a configuration or a profile, all of it, by line.

    Ends with 0 if nothing is, else with 2. Nothing is opened.
    """
    from relay.cli.app import app
    from relay.cli.reports.mistakes import mistakes_in
    from relay.printable import escape_unprintable

    serve: Any = typer.main.get_command(app).commands["serve"]  # type: ignore[attr-defined]
    wrong = 0
    for file in files:
        found = mistakes_in(file, serve)
        wrong += len(found)
        for each in found:
            tell(escape_unprintable(each.in_one_line(file)))
    if wrong:
        raise typer.Exit(2)
