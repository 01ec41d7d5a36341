"""The commands of `relay`."""

from __future__ import annotations

from importlib.metadata import version
from typing import Annotated

import typer

from relay.cli.demo import demo
from relay.cli.doctor import doctor
from relay.cli.explain import explain
from relay.cli.profiles import profiles
from relay.cli.serve import serve
from relay.cli.terminal import tell

app = typer.Typer(
    name="relay",
    help="A relay that behaves like a hypervisor's user-space NAT.",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

for command in (serve, profiles, explain, doctor, demo):
    app.command()(command)


@app.callback(invoke_without_command=True)
def _root(
    show_version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    if show_version:
        tell(version("vmnat-relay"))
        raise typer.Exit
