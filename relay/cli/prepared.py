"""What `relay serve` is to serve with, put together from the values of its options; nothing is opened here."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from relay import defaults
from relay.backend import choose_backend
from relay.config import RelayConfig, configure
from relay.errors import ConfigError

if TYPE_CHECKING:
    from relay.control_api import ControlSpec
    from relay.wire.guests import Guests


@dataclass(frozen=True, slots=True)
class Prepared:
    """A relay that may be opened."""

    config: RelayConfig
    guests: Guests | None
    control: ControlSpec | None


def prepare(
    *,
    profile: str,
    settings: Sequence[str] | None,
    listen: str,
    forward: Sequence[str] | None,
    inbound: Sequence[str] | None,
    auth: str | None,
    auth_file: Path | None,
    allow_open: bool,
    backend: str,
    observer: str | None,
    strict: bool,
    resolve: Sequence[str] | None,
    source: str | None,
    control: str | None,
    control_token_file: Path | None,
    control_host: Sequence[str] | None,
    toxiproxy_parity: bool,
    handshake_timeout: float,
    connect_timeout: float,
    idle_timeout: float | None,
    drain_timeout: float,
    max_flows: int | None,
    time_scale: float,
    seed: int | None,
    wire: Sequence[str] | None,
    network: str,
    no_host: bool,
    dns: Sequence[str] | None,
    offload: str,
) -> Prepared:
    """Check the values of the options, each by its parameter's name.

    Raises:
        ConfigError: naming the option that is wrong.
    """
    choose_backend(backend, where="--backend")
    configured = configure(
        profile,
        settings=settings or (),
        listen=listen,
        forwards=forward or (),
        inbound=inbound or (),
        auth=_credentials(auth, auth_file),
        allow_open=allow_open,
        observer=observer,
        strict=strict,
        resolve=resolve or (),
        source=source,
        handshake_timeout_s=handshake_timeout,
        connect_timeout_s=connect_timeout,
        idle_timeout_s=idle_timeout,
        drain_timeout_s=drain_timeout,
        max_flows=max_flows,
        time_scale=time_scale,
        seed=seed,
        has_guests=bool(wire),
    )
    guests = None
    if wire:  # else wire mode is not even loaded
        from relay.config.guest import check_offload, configure_guest, configure_links
        from relay.wire.guests import Guests

        links, offloads = configure_links(wire, allow_open=allow_open), check_offload(offload)
        guest = configure_guest(network, reaches_host=not no_host, name_servers=dns or (), resolve=resolve or ())
        guests = Guests(links, guest, offload=offloads)
    else:
        _demand_guests(
            {
                "--network": network != defaults.NETWORK,
                "--no-host": no_host,
                "--dns": bool(dns),
                "--offload": offload != defaults.OFFLOAD,
            }
        )
    spec = control_of(control, control_token_file, control_host or (), allow_open=allow_open, parity=toxiproxy_parity)
    return Prepared(configured, guests, spec)


def _demand_guests(given: Mapping[str, bool]) -> None:
    """Insist that no option is given that is for guests.

    Raises:
        ConfigError: one is.
    """
    for option, is_given in given.items():
        if is_given:
            hint = "add --wire SPEC, or use relay run -- COMMAND"
            raise ConfigError(f"{option}: there is no guest without --wire", hint=hint)


def _credentials(auth: str | None, auth_file: Path | None) -> str | None:
    if auth_file is None:
        return auth
    from relay.config.auth_file import read_auth_file

    if auth is not None:
        hint = "give one of them; RELAY_AUTH and RELAY_AUTH_FILE count, too"
        raise ConfigError("--auth-file: --auth says already who may use the proxy", hint=hint)
    return read_auth_file(auth_file)


def control_of(
    text: str | None, token_file: Path | None, hosts: Sequence[str], *, allow_open: bool, parity: bool
) -> ControlSpec | None:
    """What the options of `--control` say.

    Raises:
        ConfigError: one of them is wrong.
    """
    if text is None:
        given = {
            "--control-token-file": token_file is not None,
            "--control-host": bool(hosts),
            "--toxiproxy-parity": parity,
        }
        for option in (option for option, is_given in given.items() if is_given):
            raise ConfigError(f"{option}: nothing to control without --control", hint="add --control HOST:PORT")
        return None
    from relay.control_api import control_spec

    token = os.environ.get("RELAY_CONTROL_TOKEN", "")
    return control_spec(text, token=token, token_file=token_file, hosts=hosts, allow_open=allow_open, parity=parity)
