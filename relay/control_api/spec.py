"""Where a control listens and who may use it, as the command line says it, checked before anything is opened."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from relay.address import Endpoint, parse_endpoint
from relay.errors import ConfigError

_UNIX = "unix:"
_LEAST_TOKEN = 16
_READ_BYTES = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlSpec:
    """Where a control listens, and who may use it."""

    bind: Endpoint | Path
    """A path is a Unix socket's."""
    token: str = ""
    """What clients have to send; empty: nothing."""
    beyond_loopback: bool = False
    """Whether clients may open forwards that listen for every host."""
    hosts: tuple[str, ...] = ()
    """Names, beside addresses and `localhost`, that clients may reach it by."""
    parity: bool = False
    """Whether fields and attributes that toxiproxy does not know are ignored, as it does, and not refused."""
    proxies: bytes | None = None
    """Toxiproxy's proxies to begin with: what `POST /populate` takes; None: none."""


def control_spec(
    text: str,
    *,
    token: str = "",
    token_file: Path | None = None,
    hosts: Iterable[str] = (),
    allow_open: bool = False,
    parity: bool = False,
    proxies: bytes | None = None,
) -> ControlSpec:
    """Read `HOST:PORT` or `unix:PATH`, and the token from its file. `proxies` are there from the start.

    Raises:
        ConfigError: naming the option that is wrong.
    """
    if token_file is not None:
        token = _read_token(token_file)
    if token and (len(token) < _LEAST_TOKEN or not token.isascii() or not token.isprintable() or " " in token):
        where = f"--control-token-file: {token_file}" if token_file is not None else "RELAY_CONTROL_TOKEN"
        raise ConfigError(f"{where}: no token", hint=f"one line of {_LEAST_TOKEN} or more ASCII characters, no spaces")
    bind: Endpoint | Path
    if text.startswith(_UNIX):
        bind = Path(text.removeprefix(_UNIX))
        if bind == Path():
            raise ConfigError(f"--control: {text!r} names no socket", hint="e.g. unix:/run/relay.sock")
    else:
        bind = parse_endpoint(text, where="--control")
        if not (bind.is_loopback or token or allow_open):
            raise ConfigError(
                f"--control: listening on {bind} without a token",
                hint="add --control-token-file FILE, or --allow-open to let every client steer the relay",
            )
    return ControlSpec(
        bind=bind, token=token, beyond_loopback=allow_open, hosts=tuple(hosts), parity=parity, proxies=proxies
    )


def _read_token(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(_READ_BYTES)
    except OSError as error:
        hint = "name a file whose one line is the token"
        raise ConfigError(f"--control-token-file: cannot read {path}: {error.strerror}", hint=hint) from None
    return content.decode("utf-8", "replace").removesuffix("\n").removesuffix("\r") or " "
