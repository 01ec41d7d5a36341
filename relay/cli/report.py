"""`relay report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from relay.cli.completion import complete_profile


def report(
    source: Annotated[str, typer.Argument(metavar="FILE|-", help="What --events or --pcap wrote, or - for stdin.")],
    output: Annotated[
        Path, typer.Option("-o", "--output", envvar="RELAY_OUTPUT", metavar="FILE", help="The HTML file to write.")
    ],
    profile: Annotated[
        Optional[str],  # noqa: UP045 - typer reads the annotation itself
        typer.Option(
            "--profile",
            envvar="RELAY_PROFILE",
            metavar="NAME|FILE",
            help="The profile to explain the flows by (default: the one that the log names).",
            autocompletion=complete_profile,
        ),
    ] = None,
) -> None:
    """Write flows as one HTML file.

    It has a table, a timeline, ladders and evidence.
    """
    from relay.cli.reports.html import write_report

    write_report(source, output, profile)
