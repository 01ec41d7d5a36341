"""The commands of `relay`. Each has a module of its own, which imports what the command needs when it is run."""

from __future__ import annotations

from typing import Annotated

import typer

from relay.cli.check import check
from relay.cli.demo import demo
from relay.cli.doctor import doctor
from relay.cli.explain import explain
from relay.cli.ladder import ladder
from relay.cli.parsing import CONTEXT, Command, Group
from relay.cli.probe import probe_group
from relay.cli.profiles import profiles
from relay.cli.report import report
from relay.cli.run import run
from relay.cli.serve import serve
from relay.cli.terminal import tell
from relay.cli.toxiproxy import CONTEXT as TOXIPROXY_CONTEXT
from relay.cli.toxiproxy import toxiproxy

app = typer.Typer(
    name="relay",
    cls=Group,
    context_settings=CONTEXT,
    help="A relay that behaves like a hypervisor's user-space NAT.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

for command in (serve, check, ladder, report, profiles, explain, doctor, demo):
    app.command(cls=Command, context_settings=CONTEXT)(command)
app.command(cls=Command, context_settings={**CONTEXT, "allow_interspersed_args": False})(run)
app.command(cls=Command, context_settings=TOXIPROXY_CONTEXT)(toxiproxy)
app.add_typer(probe_group(), name="probe", help="Measure a NAT, and write a profile of it.")


@app.callback(invoke_without_command=True)
def _root(
    show_version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    if show_version:
        from importlib.metadata import version

        tell(version("vmnat-relay"))
        raise typer.Exit
