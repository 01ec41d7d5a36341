"""`relay demo`."""

from __future__ import annotations

from typing import Annotated

import typer

from relay import defaults
from relay.cli.parameters import BackendOption, ObserverOption
from relay.cli.terminal import colour, stdout


def demo(
    json: Annotated[
        bool, typer.Option("--json", envvar="RELAY_JSON", help="Print one JSON object at the end, instead of text.")
    ] = False,
    backend: BackendOption = defaults.BACKEND,
    observer: ObserverOption = None,
) -> None:
    """Show three quirks beside a plain NAT, with evidence."""
    from relay.backend import choose_backend
    from relay.demo import run_demo
    from relay.interrupt import interrupted_once

    choose_backend(backend, where="--backend")
    stream = stdout()
    with interrupted_once():
        run_demo(stream, json=json, colour=colour(stream), backend=backend, observer=observer)
