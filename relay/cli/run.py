"""`relay run -- COMMAND`: one command behind the NAT, in a network of its own, with no proxy setting."""

from __future__ import annotations

from typing import Annotated

import typer

from relay import defaults
from relay.cli.parameters import (
    AllowOpenOption,
    BackendOption,
    ConnectTimeoutOption,
    ControlHostOption,
    ControlOption,
    ControlTokenFileOption,
    DnsOption,
    EventsOption,
    InboundOption,
    NetworkOption,
    NoHostOption,
    OffloadOption,
    PcapOption,
    ProfileOption,
    ResolveOption,
    SeedOption,
    SetOption,
    TimeScaleOption,
    ToxiproxyParityOption,
)


def run(
    command: Annotated[list[str], typer.Argument(metavar="COMMAND [ARGUMENT]...", help="What to run, behind --.")],
    profile: ProfileOption = defaults.PROFILE,
    settings: SetOption = None,
    map_root: Annotated[
        bool, typer.Option("--map-root", envvar="RELAY_MAP_ROOT", help="The command sees itself as root (nmap, scapy).")
    ] = False,
    network: NetworkOption = defaults.NETWORK,
    no_host: NoHostOption = False,
    dns: DnsOption = None,
    inbound: InboundOption = None,
    allow_open: AllowOpenOption = False,
    offload: OffloadOption = defaults.OFFLOAD,
    resolve: ResolveOption = None,
    backend: BackendOption = defaults.BACKEND,
    events: EventsOption = None,
    pcap: PcapOption = None,
    control: ControlOption = None,
    control_token_file: ControlTokenFileOption = None,
    control_host: ControlHostOption = None,
    toxiproxy_parity: ToxiproxyParityOption = False,
    verbose: Annotated[
        bool,
        typer.Option("--verbose", "-v", envvar="RELAY_VERBOSE", help="Print the event log, and totals at the end."),
    ] = False,
    connect_timeout: ConnectTimeoutOption = defaults.RUN_CONNECT_TIMEOUT_S,
    time_scale: TimeScaleOption = defaults.TIME_SCALE,
    seed: SeedOption = None,
) -> None:
    """Run a command behind the NAT (Linux).

    The exit status is the command's.
    """
    from relay.cli.prepared import control_of
    from relay.cli.running import run_behind_nat
    from relay.config import configure
    from relay.config.guest import check_offload, configure_guest

    config = configure(
        profile,
        settings=settings or (),
        listen=None,
        has_guests=True,
        inbound=inbound or (),
        allow_open=allow_open,
        resolve=resolve or (),
        connect_timeout_s=connect_timeout,
        time_scale=time_scale,
        seed=seed,
    )
    guest = configure_guest(network, reaches_host=not no_host, name_servers=dns or (), resolve=resolve or ())
    steered = control_of(
        control, control_token_file, control_host or (), allow_open=allow_open, parity=toxiproxy_parity
    )
    raise typer.Exit(
        run_behind_nat(
            config,
            command,
            network=guest,
            offload=check_offload(offload),
            map_root=map_root,
            backend=backend,
            events=events,
            pcap=pcap,
            control=steered,
            verbose=verbose,
        )
    )
