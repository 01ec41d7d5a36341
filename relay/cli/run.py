"""`relay run -- COMMAND`: one command behind the NAT, in a network of its own, with no proxy setting."""

from __future__ import annotations

from typing import Annotated, Optional

import typer

from relay import defaults
from relay.cli.parameters import BackendOption, ProfileOption, SetOption, number_option

DEFAULT_NETWORK = "192.168.127.0/24"


def run(
    command: Annotated[list[str], typer.Argument(metavar="COMMAND [ARGUMENT]...", help="What to run, behind --.")],
    profile: ProfileOption = defaults.PROFILE,
    settings: SetOption = None,
    map_root: Annotated[
        bool, typer.Option("--map-root", envvar="RELAY_MAP_ROOT", help="The command sees itself as root (nmap, scapy).")
    ] = False,
    network: Annotated[
        str, typer.Option("--network", envvar="RELAY_NETWORK", metavar="NETWORK", help="The guest's network.")
    ] = DEFAULT_NETWORK,
    no_host: Annotated[
        bool,
        typer.Option("--no-host", envvar="RELAY_NO_HOST", help="Do not let the network's .1 be this host's loopback."),
    ] = False,
    offload: Annotated[
        str,
        typer.Option(
            "--offload",
            envvar="RELAY_OFFLOAD",
            metavar="auto|off",
            help="auto: carry bulk in segments of 64 KiB; off: every segment as the NAT's, for captures.",
        ),
    ] = "auto",
    dns: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(
            "--dns",
            envvar="RELAY_DNS",
            metavar="ADDR[:PORT]",
            help="Ask this name server, not those of this host; repeatable.",
        ),
    ] = None,
    resolve: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(
            "--resolve",
            envvar="RELAY_RESOLVE",
            metavar="NAME:PORT:ADDR",
            help="Resolve a name to this address; repeatable.",
        ),
    ] = None,
    backend: BackendOption = "asyncio",
    events: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            "--events", envvar="RELAY_EVENTS", metavar="FILE|-", help="Write the event log as JSON lines; - is stdout."
        ),
    ] = None,
    verbose: Annotated[
        bool,
        typer.Option("--verbose", "-v", envvar="RELAY_VERBOSE", help="Print the event log, and totals at the end."),
    ] = False,
    connect_timeout: Annotated[
        float,
        number_option(
            "--connect-timeout",
            float,
            "SECONDS",
            "2.5",
            "Give up on a destination that is not connected within this time.",
        ),
    ] = 130.0,
    time_scale: Annotated[
        float,
        number_option("--time-scale", float, "FACTOR", "10", "Run the NAT's clock this many times as fast."),
    ] = 1.0,
    seed: Annotated[
        Optional[int],  # noqa: UP045
        number_option("--seed", int, "N", "7", "Seed of all random choices, to repeat a run (default: a new one)."),
    ] = None,
) -> None:
    """Run a command behind the NAT (Linux).

    The exit status is the command's.
    """
    from relay.cli.running import run_behind_nat
    from relay.config import configure

    config = configure(
        profile,
        settings=settings or (),
        listen=None,
        needs_listener=False,
        resolve=resolve or (),
        connect_timeout_s=connect_timeout,
        time_scale=time_scale,
        seed=seed,
    )
    raise typer.Exit(
        run_behind_nat(
            config,
            command,
            network=network,
            map_root=map_root,
            reaches_host=not no_host,
            dns=dns or [],
            offload=offload,
            backend=backend,
            events=events,
            verbose=verbose,
        )
    )
