"""`relay ladder`."""

from __future__ import annotations

from typing import Annotated, Optional

import typer

from relay.cli.terminal import colour, stdout


def ladder(
    source: Annotated[str, typer.Argument(metavar="FILE|-", help="What --events or --pcap wrote, or - for stdin.")],
    flow: Annotated[
        Optional[list[str]],  # noqa: UP045 - typer reads the annotation itself
        typer.Option(
            "--flow", envvar="RELAY_FLOW", metavar="N", help="Show the flow of this number alone; repeatable."
        ),
    ] = None,
) -> None:
    """Draw flows as ladders: app, NAT and server, time downwards."""
    from relay.cli.reports.ladders import show_ladders

    stream = stdout()
    show_ladders(source, flow or (), encoding=stream.encoding, colour=colour(stream))
