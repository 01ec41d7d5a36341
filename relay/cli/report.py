"""`relay report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def report(
    events: Annotated[str, typer.Argument(metavar="EVENTS.jsonl|-", help="What --events wrote, or - for stdin.")],
    output: Annotated[
        Path, typer.Option("-o", "--output", envvar="RELAY_OUTPUT", metavar="FILE", help="The HTML file to write.")
    ],
) -> None:
    """Write flows as one HTML file: a table, a timeline, ladders, evidence."""
    from relay.cli.reports.html import write_report

    write_report(events, output)
