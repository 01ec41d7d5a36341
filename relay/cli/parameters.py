"""Options that several commands have, each defined once, and how an option that is a number is read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from relay.cli.completion import complete_backend, complete_observer, complete_profile, complete_setting
from relay.errors import ConfigError


def number_option(
    option: str, kind: type[int] | type[float], metavar: str, example: str, explained: str, *, variable: str = ""
) -> Any:
    """An option that is a number, whose error names the option and the value; the parser's own names no value."""

    def read(text: str) -> int | float:
        try:
            return kind(text)
        except ValueError:
            noun = "a whole number" if kind is int else "a number"
            unit = "give seconds without a unit, " if metavar == "SECONDS" else ""
            raise ConfigError(f"{option}: {text!r} is not {noun}", hint=f"{unit}e.g. {option} {example}") from None

    variable = variable or f"RELAY_{option.removeprefix('--').replace('-', '_').upper()}"
    return typer.Option(option, parser=read, envvar=variable, metavar=metavar, help=explained)


ProfileOption = Annotated[
    str,
    typer.Option(
        "--profile",
        envvar="RELAY_PROFILE",
        metavar="NAME|FILE",
        help="A profile's name, or a TOML file.",
        autocompletion=complete_profile,
    ),
]
SetOption = Annotated[
    Optional[list[str]],  # noqa: UP045 - typer reads the annotation itself
    typer.Option(
        "--set",
        envvar="RELAY_SET",
        metavar="BEHAVIOUR.SETTING=VALUE",
        help="Change a setting of the profile; repeatable.",
        autocompletion=complete_setting,
    ),
]
ObserverOption = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(
        "--observer",
        envvar="RELAY_OBSERVER",
        metavar="NAME",
        help="How to see changes of the TOS byte (default: the best that works here; none: not at all).",
        autocompletion=complete_observer,
    ),
]
BackendOption = Annotated[
    str,
    typer.Option(
        "--backend",
        envvar="RELAY_BACKEND",
        metavar="asyncio|trio|uvloop",
        help="The async library to run on.",
        autocompletion=complete_backend,
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", envvar="RELAY_JSON", help="Print JSON instead of text.")]

EventsOption = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(
        "--events", envvar="RELAY_EVENTS", metavar="FILE|-", help="Write the event log as JSON lines; - is stdout."
    ),
]
PcapOption = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--pcap", envvar="RELAY_PCAP", metavar="FILE|-", help="Write both sides' packets for Wireshark."),
]
ConnectTimeoutOption = Annotated[
    float,
    number_option(
        "--connect-timeout", float, "SECONDS", "2.5", "Give up on a destination that is not connected within this time."
    ),
]
TimeScaleOption = Annotated[
    float, number_option("--time-scale", float, "FACTOR", "10", "Run the NAT's clock this many times as fast.")
]
SeedOption = Annotated[
    Optional[int],  # noqa: UP045
    number_option("--seed", int, "N", "7", "Seed of all random choices, to repeat a run (default: a new one)."),
]
InboundOption = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Option(
        "--inbound",
        envvar="RELAY_INBOUND",
        metavar="[BIND:]PORT:HOST:PORT",
        help="Forward a port to a server in the guest: the relay dials the internal side; repeatable.",
    ),
]
AllowOpenOption = Annotated[
    bool,
    typer.Option(
        "--allow-open", envvar="RELAY_ALLOW_OPEN", help="Allow listening beyond loopback without authentication."
    ),
]
ControlOption = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(
        "--control",
        envvar="RELAY_CONTROL",
        metavar="HOST:PORT|unix:PATH",
        help="Serve a page, an HTTP API and metrics there: to see the relay and steer it while it runs.",
    ),
]
ControlTokenFileOption = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option(
        "--control-token-file",
        envvar="RELAY_CONTROL_TOKEN_FILE",
        metavar="FILE",
        help="Demand the token in this file's only line; the variable RELAY_CONTROL_TOKEN may hold one, too.",
    ),
]
ControlHostOption = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Option(
        "--control-host",
        envvar="RELAY_CONTROL_HOST",
        metavar="NAME",
        help="A name that clients of the control reach it by, beside addresses and localhost; repeatable.",
    ),
]
ToxiproxyParityOption = Annotated[
    bool,
    typer.Option(
        "--toxiproxy-parity",
        envvar="RELAY_TOXIPROXY_PARITY",
        help="Ignore fields and attributes that toxiproxy does not know, as it does; otherwise they are errors.",
    ),
]
ResolveOption = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Option(
        "--resolve",
        envvar="RELAY_RESOLVE",
        metavar="NAME:PORT:ADDR",
        help="Resolve a name to this address; repeatable.",
    ),
]
NetworkOption = Annotated[
    str, typer.Option("--network", envvar="RELAY_NETWORK", metavar="NETWORK", help="The guest's network.")
]
NoHostOption = Annotated[
    bool,
    typer.Option("--no-host", envvar="RELAY_NO_HOST", help="Do not lead the network's .1 to this host's loopback."),
]
DnsOption = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Option(
        "--dns", envvar="RELAY_DNS", metavar="ADDR[:PORT]", help="Ask this name server, not this host's; repeatable."
    ),
]
OffloadOption = Annotated[
    str,
    typer.Option(
        "--offload",
        envvar="RELAY_OFFLOAD",
        metavar="auto|off",
        help="auto: carry bulk in segments of 64 KiB; off: every segment as the NAT's, for captures.",
    ),
]
