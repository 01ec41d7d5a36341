"""`relay probe SERVER`, and `relay probe server`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from relay import defaults
from relay.cli.completion import complete_profile
from relay.cli.parameters import BackendOption, JsonOption, number_option
from relay.cli.parsing import CONTEXT, Command, Group
from relay.errors import ConfigError


def _refuse_token(value: str | None) -> None:
    if value is not None:
        raise ConfigError(
            "--token: there is no such option, for `ps` shows a command line to every user",
            hint="give a new token by RELAY_PROBE_TOKEN, or in a file: --token-file FILE",
        )


TokenOption = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--token", metavar="TOKEN", hidden=True, callback=_refuse_token),
]

NAMES = (
    "handshake",
    "refusal",
    "close",
    "local-ack",
    "keepalive",
    "tos",
    "syn",
    "pending",
    "dial-tail",
    "ports",
    "idle",
    "idle-refresh",
    "udp",
    "lifetime",
    "watch",
    "flows",
    "guess",
)
"""The probes' names: `relay.probe.PROBES` has them, too, and takes longer to import than the command line to parse."""

TokenFileOption = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option(
        "--token-file",
        envvar="RELAY_PROBE_TOKEN_FILE",
        metavar="FILE",
        help="Read the token from this file's only line (or set RELAY_PROBE_TOKEN).",
    ),
]


class ProbeGroup(Group):
    """`server` is a command; whatever else stands first belongs to the client, which has no word of its own."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, args if args[:1] == ["server"] else ["client", *args])


class _Client(Command):
    """Called `relay probe` wherever it is named."""

    def make_context(self, info_name: Any, args: Any, parent: Any = None, **extra: Any) -> Any:
        return super().make_context("probe", args, parent=parent and parent.parent, **extra)


def client(
    server: Annotated[
        str, typer.Argument(metavar="SERVER", help="HOST:PORT of the probe server, as it is reached through the NAT.")
    ],
    output: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            "--output",
            "-o",
            envvar="RELAY_PROBE_OUTPUT",
            metavar="FILE",
            help="Write the profile here, and the observations beside it, as .jsonl (default: the profile to stdout).",
        ),
    ] = None,
    via: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            "--via",
            envvar="RELAY_PROBE_VIA",
            metavar="URL",
            help="Go through this proxy: socks5://HOST:PORT or http://HOST:PORT.",
        ),
    ] = None,
    other: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            "--other",
            envvar="RELAY_PROBE_OTHER",
            metavar="HOST:PORT",
            help="The server's second port through the NAT (default: as far from SERVER's as at the server itself).",
        ),
    ] = None,
    control: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            "--control",
            envvar="RELAY_PROBE_CONTROL",
            metavar="HOST:PORT",
            help="The server's address past the NAT, for the control connection (default: through the NAT).",
        ),
    ] = None,
    token_file: TokenFileOption = None,
    token: TokenOption = None,
    only: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(
            "--only",
            envvar="RELAY_PROBE_ONLY",
            metavar="PROBE",
            help=f"Run this probe alone; repeatable. There are {', '.join(NAMES)}; flows runs only when it is named.",
        ),
    ] = None,
    quick: Annotated[
        bool,
        typer.Option(
            "--quick",
            envvar="RELAY_PROBE_QUICK",
            help="Leave out what takes long, idle limits for one: the rest takes less than four minutes.",
        ),
    ] = False,
    max_idle: Annotated[
        float,
        number_option(
            "--max-idle",
            float,
            "SECONDS",
            "7440",
            "The longest time without traffic to try; all tries together take four times as long.",
        ),
    ] = 1200.0,
    max_life: Annotated[
        float,
        number_option("--max-life", float, "SECONDS", "8100", "Watch busy connections for this long (0: not at all)."),
    ] = 0.0,
    watch: Annotated[
        float,
        number_option(
            "--watch",
            float,
            "SECONDS",
            "28800",
            "Watch connections for this long, to see when all end at once (0: not at all).",
        ),
    ] = 0.0,
    max_flows: Annotated[
        int,
        number_option(
            "--max-flows",
            int,
            "COUNT",
            "2000",
            "With --only flows: open at most this many connections at once.",
            variable="RELAY_PROBE_MAX_FLOWS",  # RELAY_MAX_FLOWS is another option's, of relay serve
        ),
    ] = 2000,
    only_server: Annotated[
        bool,
        typer.Option(
            "--only-server",
            envvar="RELAY_PROBE_ONLY_SERVER",
            help="Connect to the server alone; otherwise refusal also tries 192.0.2.1 and a name that does not exist.",
        ),
    ] = False,
    time_scale: Annotated[
        float,
        number_option(
            "--time-scale", float, "FACTOR", "100", "For a NAT that is a relay: its clock runs this many times as fast."
        ),
    ] = defaults.TIME_SCALE,
    patience: Annotated[
        float,
        number_option("--patience", float, "SECONDS", "5", "Take a peer for silent after this long without an answer."),
    ] = 5.0,
    title: Annotated[
        str,
        typer.Option(
            "--title", envvar="RELAY_PROBE_TITLE", metavar="TEXT", help="The profile's title: whose NAT it is."
        ),
    ] = "",
    compare: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            "--compare",
            envvar="RELAY_PROBE_COMPARE",
            metavar="PROFILE",
            help="Print what differs from this profile, as a table.",
            autocompletion=complete_profile,
        ),
    ] = None,
    baseline: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            "--baseline",
            envvar="RELAY_PROBE_BASELINE",
            metavar="PROFILE",
            help="Leave out what this profile, measured on the host, has as well.",
            autocompletion=complete_profile,
        ),
    ] = None,
    json: JsonOption = False,
    backend: BackendOption = defaults.BACKEND,
) -> None:
    """Measure a NAT, and write what it does as a profile.

    Run it behind the NAT: in the VM, the container or the cloud's network. The other end runs outside: `relay probe
    server`. Ctrl-C ends it, and keeps what was found.
    """
    from relay.cli.probing import probe

    raise typer.Exit(
        probe(
            server,
            output=output,
            via=via,
            other=other,
            control=control,
            token_file=token_file,
            only=only or [],
            quick=quick,
            max_idle_s=max_idle,
            max_life_s=max_life,
            watch_s=watch,
            max_flows=max_flows,
            only_server=only_server,
            time_scale=time_scale,
            patience_s=patience,
            title=title,
            compare_with=compare,
            baseline=baseline,
            json=json,
            backend=backend,
        )
    )


def server(
    listen: Annotated[
        str,
        typer.Option(
            "--listen",
            envvar="RELAY_PROBE_LISTEN",
            metavar="HOST:PORT",
            help="Where to listen; the port behind it is used as well. Beyond loopback clients need the token.",
        ),
    ] = defaults.PROBE_LISTEN,
    token_file: TokenFileOption = None,
    token: TokenOption = None,
    port_file: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            "--port-file",
            envvar="RELAY_PROBE_PORT_FILE",
            metavar="FILE",
            help="Write the ports that were picked, when the server is ready.",
        ),
    ] = None,
    backend: BackendOption = defaults.BACKEND,
) -> None:
    """Serve `relay probe`, until Ctrl-C or SIGTERM.

    It opens no connection to another host, and serves only clients that have the token.
    """
    from relay.cli.probing import serve_probes

    serve_probes(listen, token_file=token_file, port_file=port_file, backend=backend)


def probe_group() -> typer.Typer:
    """Both commands."""
    group = typer.Typer(cls=ProbeGroup, context_settings=CONTEXT, rich_markup_mode=None)
    group.command("client", cls=_Client, context_settings=CONTEXT)(client)
    group.command("server", cls=Command, context_settings=CONTEXT)(server)
    return group
