"""`relay toxiproxy`: takes the place of toxiproxy's server where something else starts that, as a container's image.

Its options are those of that server, with one dash as Go's programs have them: `-host=0.0.0.0`, `-port 8474`. So this
command reads its own arguments. Once it serves it writes the line to stdout by which that server says so: there are
tests that wait for it in a container's log.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from relay.cli.parameters import ControlHostOption, ToxiproxyParityOption
from relay.errors import ConfigError

if TYPE_CHECKING:
    from relay.control_api import ControlSpec

CONTEXT = {"ignore_unknown_options": True, "help_option_names": ["--help"]}
_VALUES = {"host": "localhost", "port": "8474", "config": "", "seed": ""}
_VERSION = "version"
_FLAGS = ("proxy-metrics", "runtime-metrics", _VERSION)
"""The metrics' two are without an effect: `/metrics` has them always."""
_HOSTS = {"localhost": "127.0.0.1", "": "0.0.0.0"}
_READY = "Starting Toxiproxy HTTP server"
_HINT = "the options: -host=ADDRESS, -port=PORT, -config=FILE, -seed=N, -proxy-metrics, -runtime-metrics, -version"


def toxiproxy(
    arguments: Annotated[
        Optional[list[str]],  # noqa: UP045 - typer reads the annotation itself
        typer.Argument(
            metavar="[-host=ADDRESS] [-port=PORT] [-config=FILE] [-seed=N]",
            help="As toxiproxy's server has them; FILE is a JSON array of proxies.",
        ),
    ] = None,
    control_host: ControlHostOption = None,
    toxiproxy_parity: ToxiproxyParityOption = False,
) -> None:
    """Serve toxiproxy's API, with the options of its server.

    For example -host=0.0.0.0. Every client that reaches it may steer it, unless RELAY_CONTROL_TOKEN has a token.
    """
    import os
    from functools import partial

    from relay import defaults
    from relay.cli.serving import serve_until_stopped
    from relay.cli.terminal import tell
    from relay.config import configure
    from relay.control_api import TOXIPROXY_VERSION, control_spec

    values = dict(_read(arguments or ()))
    if _VERSION in values:
        tell(f"toxiproxy-server version {TOXIPROXY_VERSION}")
        return
    host = _HOSTS.get(values["host"], values["host"])
    bracketed = f"[{host}]" if ":" in host else host
    try:
        spec: ControlSpec = control_spec(
            f"{bracketed}:{values['port']}",
            token=os.environ.get("RELAY_CONTROL_TOKEN", ""),
            hosts=control_host or (),
            allow_open=True,
            parity=toxiproxy_parity,
            proxies=_read_proxies(values["config"]),
        )
    except ConfigError as error:
        raise ConfigError(str(error).replace("--control:", "-host, -port:", 1), hint=error.hint) from None
    serve_until_stopped(
        configure("transparent", listen=None, has_guests=True, seed=_seed(values["seed"])),
        None,
        control=spec,
        backend=defaults.BACKEND,
        workers=defaults.WORKERS,
        events=None,
        pcap=None,
        port_file=None,
        quiet=False,
        when_ready=partial(_say_ready, bracketed),
    )


def _say_ready(host: str, url: str) -> None:
    import json
    import sys

    from relay.cli.terminal import tell
    from relay.control_api import TOXIPROXY_VERSION

    address = f"{host}:{url.rpartition(':')[2]}"
    record = {"level": "info", "version": TOXIPROXY_VERSION, "address": address, "message": _READY}
    if sys.stdout is not None:
        tell(json.dumps(record), at_once=True)


def _read(arguments: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Each option and its value; the last of an option counts."""
    yield from _VALUES.items()
    left = list(arguments)
    while left:
        argument = left.pop(0)
        name, equals, value = argument.lstrip("-").partition("=")
        if not argument.startswith("-") or name not in (*_VALUES, *_FLAGS):
            raise ConfigError(f"unknown argument {argument!r}", hint=_HINT)
        if name in _VALUES and not equals:
            if not left:
                raise ConfigError(f"-{name} needs a value", hint=_HINT)
            value = left.pop(0)
        yield name, value


def _seed(text: str) -> int | None:
    if not text:
        return None
    try:
        return int(text)
    except ValueError:
        raise ConfigError(f"-seed: {text!r} is not a whole number", hint="e.g. -seed=7") from None


def _read_proxies(file: str) -> bytes | None:
    if not file:
        return None
    from relay.control_api.exchange import Refused
    from relay.control_api.json_body import parse_json

    hint = 'name a file like [{"name": "redis", "listen": "[::]:8666", "upstream": "redis:6379"}]'
    try:
        text = Path(file).read_bytes()
        proxies = parse_json(text)
    except OSError as error:
        raise ConfigError(f"-config: cannot read {file}: {error.strerror}", hint=hint) from None
    except Refused as error:
        raise ConfigError(f"-config: {file}: {str(error).replace('the body', 'it')}", hint=hint) from None
    if not isinstance(proxies, list):
        raise ConfigError(f"-config: {file}: it is no array of proxies", hint=hint)
    return text
