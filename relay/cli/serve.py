"""`relay serve`: its options."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from relay import defaults
from relay.cli.config_file import take_config_file
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
    ObserverOption,
    OffloadOption,
    PcapOption,
    ProfileOption,
    ResolveOption,
    SeedOption,
    SetOption,
    TimeScaleOption,
    ToxiproxyParityOption,
    number_option,
)


def serve(
    config: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            "--config",
            envvar="RELAY_CONFIG",
            metavar="FILE",
            help='A TOML file with any of the options below, e.g. listen = "127.0.0.1:1080".',
            callback=take_config_file,
            is_eager=True,
        ),
    ] = None,
    profile: ProfileOption = defaults.PROFILE,
    settings: SetOption = None,
    listen: Annotated[
        str,
        typer.Option(
            "--listen",
            envvar="RELAY_LISTEN",
            metavar="HOST:PORT",
            help="Where the proxy listens; port 0 picks a free one.",
        ),
    ] = defaults.LISTEN,
    forward: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(
            "--forward",
            envvar="RELAY_FORWARD",
            metavar="[BIND:]PORT:HOST:PORT",
            help="Forward a port to a server; repeatable.",
        ),
    ] = None,
    inbound: InboundOption = None,
    auth: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            "--auth",
            envvar="RELAY_AUTH",
            metavar="USER:PASS",
            help="Require this user and password. Other users can read them with ps: see --auth-file.",
        ),
    ] = None,
    auth_file: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            "--auth-file", envvar="RELAY_AUTH_FILE", metavar="FILE", help="Read USER:PASS from this file's only line."
        ),
    ] = None,
    allow_open: AllowOpenOption = False,
    backend: BackendOption = defaults.BACKEND,
    workers: Annotated[
        int,
        number_option("--workers", int, "N", "4", "Serve in this many processes, to use several cores (Linux)."),
    ] = defaults.WORKERS,
    observer: ObserverOption = None,
    strict: Annotated[
        bool, typer.Option("--strict", envvar="RELAY_STRICT", help="Refuse to start if this host cannot show a quirk.")
    ] = False,
    events: EventsOption = None,
    pcap: PcapOption = None,
    resolve: ResolveOption = None,
    source: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--source", envvar="RELAY_SOURCE", metavar="ADDR", help="Dial from this address of the host."),
    ] = None,
    control: ControlOption = None,
    control_token_file: ControlTokenFileOption = None,
    control_host: ControlHostOption = None,
    toxiproxy_parity: ToxiproxyParityOption = False,
    port_file: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            "--port-file",
            envvar="RELAY_PORT_FILE",
            metavar="FILE",
            help="Write the ports that were picked, when the relay is ready.",
        ),
    ] = None,
    handshake_timeout: Annotated[
        float,
        number_option(
            "--handshake-timeout",
            float,
            "SECONDS",
            "2.5",
            "Turn away clients that send no complete request within this time.",
        ),
    ] = defaults.HANDSHAKE_TIMEOUT_S,
    connect_timeout: ConnectTimeoutOption = defaults.CONNECT_TIMEOUT_S,
    idle_timeout: Annotated[
        Optional[float],  # noqa: UP045
        number_option(
            "--idle-timeout", float, "SECONDS", "300", "Reset flows that carry no bytes for this long (default: never)."
        ),
    ] = None,
    drain_timeout: Annotated[
        float,
        number_option(
            "--drain-timeout",
            float,
            "SECONDS",
            "0.5",
            "Reset flows that have not ended this long after the relay was stopped.",
        ),
    ] = defaults.DRAIN_TIMEOUT_S,
    max_flows: Annotated[
        Optional[int],  # noqa: UP045
        number_option(
            "--max-flows", int, "N", "1000", "Refuse connections beyond this many open flows (default: no limit)."
        ),
    ] = None,
    time_scale: TimeScaleOption = defaults.TIME_SCALE,
    seed: SeedOption = None,
    wire: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(
            "--wire",
            envvar="RELAY_WIRE",
            metavar="SPEC",
            help="A guest's link: tun:NAME, interface:NAME, qemu:unix:PATH, qemu:HOST:PORT, unixgram:PATH or "
            "udp:HOST:PORT; repeatable.",
        ),
    ] = None,
    network: NetworkOption = defaults.NETWORK,
    no_host: NoHostOption = False,
    dns: DnsOption = None,
    offload: OffloadOption = defaults.OFFLOAD,
    quiet: Annotated[
        bool, typer.Option("--quiet", envvar="RELAY_QUIET", help="Do not print the event log on the terminal.")
    ] = False,
) -> None:
    """Run the relay until Ctrl-C or SIGTERM.

    SIGUSR1 takes the link down for a moment; SIGUSR2 prints totals; SIGHUP reopens the files of
    --events and --pcap.
    """
    from relay.cli.prepared import prepare
    from relay.cli.serving import serve_until_stopped

    prepared = prepare(
        profile=profile,
        settings=settings,
        listen=listen,
        forward=forward,
        inbound=inbound,
        auth=auth,
        auth_file=auth_file,
        allow_open=allow_open,
        backend=backend,
        observer=observer,
        strict=strict,
        resolve=resolve,
        source=source,
        control=control,
        control_token_file=control_token_file,
        control_host=control_host,
        toxiproxy_parity=toxiproxy_parity,
        handshake_timeout=handshake_timeout,
        connect_timeout=connect_timeout,
        idle_timeout=idle_timeout,
        drain_timeout=drain_timeout,
        max_flows=max_flows,
        time_scale=time_scale,
        seed=seed,
        wire=wire,
        network=network,
        no_host=no_host,
        dns=dns,
        offload=offload,
    )
    serve_until_stopped(
        prepared.config,
        prepared.guests,
        control=prepared.control,
        backend=backend,
        workers=workers,
        events=events,
        pcap=pcap,
        port_file=port_file,
        quiet=quiet,
    )
