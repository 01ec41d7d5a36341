"""A relay's configuration, checked before anything is opened.

`configure` takes every setting the way people write it, for the command line, tests and programs alike; whatever is
wrong with one is a `ConfigError` that names it.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass

from relay.address import Endpoint, ForwardSpec, ResolveOverride, parse_endpoint, parse_forward, parse_resolve
from relay.errors import ConfigError
from relay.net.listen import demand_address
from relay.profiles import Profile, adjust_profile, load_profile
from relay.protocols import Credentials

DEFAULT_LISTEN = "127.0.0.1:1080"
DEFAULT_PROFILE = "vmware-fusion"
MAX_TIME_SCALE = 1000.0
MAX_ADVANCE_S = 31_536_000.0  # a year


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayConfig:
    """A relay's settings, in order. Times are in seconds."""

    profile: Profile
    listen: Endpoint | None
    forwards: tuple[ForwardSpec, ...]
    inbound: tuple[ForwardSpec, ...]
    auth: Credentials | None
    observer: str | None
    strict: bool
    resolve: tuple[ResolveOverride, ...]
    source: str | None
    handshake_timeout_s: float
    connect_timeout_s: float
    idle_timeout_s: float | None
    drain_timeout_s: float
    max_flows: int | None
    time_scale: float
    seed: int


def configure(
    profile: str | Profile = DEFAULT_PROFILE,
    *,
    settings: Iterable[str] = (),
    listen: str | None = DEFAULT_LISTEN,
    forwards: Iterable[str] = (),
    inbound: Iterable[str] = (),
    auth: str | None = None,
    allow_open: bool = False,
    observer: str | None = None,
    strict: bool = False,
    resolve: Iterable[str] = (),
    source: str | None = None,
    handshake_timeout_s: float = 10.0,
    connect_timeout_s: float = 30.0,
    idle_timeout_s: float | None = None,
    drain_timeout_s: float = 5.0,
    max_flows: int | None = None,
    time_scale: float = 1.0,
    seed: int | None = None,
) -> RelayConfig:
    """Check and put together a relay's settings.

    `profile` is a name, a TOML file's path or a loaded profile, `settings` are `BEHAVIOUR.SETTING=VALUE`, `listen` is
    the proxy's HOST:PORT (None: no proxy), `forwards` and `inbound` are `[BIND:]PORT:HOST:PORT`, `auth` is USER:PASS,
    `resolve` are `NAME:PORT:ADDRESS`, `source` is the address to dial from. `idle_timeout_s` and `max_flows`
    of None are no limit. The NAT's clock runs `time_scale` times as fast as the real one. What is left to chance
    follows from `seed`; None picks one.

    Raises:
        ConfigError: naming the option that is wrong, in the command line's words.
    """
    endpoint = parse_endpoint(listen, where="--listen") if listen is not None else None
    credentials = parse_credentials(auth, where="--auth") if auth is not None else None
    if endpoint is not None and credentials is None and not allow_open:
        _refuse_open(endpoint, "--listen", "add --auth USER:PASS, or --allow-open to serve every client")
    specs = {
        where: tuple(parse_forward(text, where=where) for text in texts)
        for where, texts in (("--forward", forwards), ("--inbound", inbound))
    }
    for where, parsed in specs.items():
        for spec in parsed:
            if not allow_open:
                _refuse_open(
                    spec.bind, where, "a forward has no authentication; add --allow-open to serve every client"
                )
    if endpoint is None and not any(specs.values()):
        raise ConfigError("nothing to listen on", hint="give --listen, --forward or --inbound")
    if source is not None and Endpoint(source, 0).ip is None:
        raise ConfigError(f"--source: {source!r} is not an IP address", hint="give one of this host's addresses")
    for name, value in (
        ("--handshake-timeout", handshake_timeout_s),
        ("--connect-timeout", connect_timeout_s),
        ("--idle-timeout", idle_timeout_s),
        ("--drain-timeout", drain_timeout_s),
    ):
        if value is not None and not 0 < value <= 86_400:
            raise ConfigError(f"{name}: {value:g} is out of range", hint="give seconds, more than 0 and up to 86400")
    if max_flows is not None and max_flows < 1:
        raise ConfigError(
            f"--max-flows: {max_flows} is out of range", hint="give 1 or more; without it there is no limit"
        )
    check_time_scale(time_scale)
    return RelayConfig(
        profile=_profile(profile, tuple(settings)),
        listen=endpoint,
        forwards=specs["--forward"],
        inbound=specs["--inbound"],
        auth=credentials,
        observer=observer,
        strict=strict,
        resolve=tuple(parse_resolve(text, where="--resolve") for text in resolve),
        source=source,
        handshake_timeout_s=handshake_timeout_s,
        connect_timeout_s=connect_timeout_s,
        idle_timeout_s=idle_timeout_s,
        drain_timeout_s=drain_timeout_s,
        max_flows=max_flows,
        time_scale=time_scale,
        seed=seed if seed is not None else secrets.randbits(32),
    )


def check_time_scale(value: float) -> None:
    """Insist that delays can be divided by this.

    Raises:
        ConfigError: they cannot.
    """
    if not 0 < value <= MAX_TIME_SCALE:
        raise ConfigError(
            f"--time-scale: {value:g} is out of range", hint=f"give more than 0 and up to {MAX_TIME_SCALE:g}"
        )


def check_advance(seconds: float) -> None:
    """Insist that a clock can be moved on by this.

    Raises:
        ConfigError: it cannot.
    """
    if not 0 <= seconds <= MAX_ADVANCE_S:
        raise ConfigError(
            f"advance: {seconds:g} is out of range", hint=f"give seconds, 0 or more and up to {MAX_ADVANCE_S:.0f}"
        )


def parse_credentials(text: str, *, where: str) -> Credentials:
    """Read USER:PASS.

    Raises:
        ConfigError: it is something else, or more than SOCKS5 carries; naming `where`.
    """
    user, colon, password = text.partition(":")
    if not user or not colon or not password:
        raise ConfigError(f"{where}: not of the form USER:PASS", hint="neither part may be empty")
    for part in (user, password):
        try:
            size_bytes = len(part.encode("utf-8", "surrogateescape"))
        except UnicodeEncodeError:
            raise ConfigError(f"{where}: user or password is no text", hint="give UTF-8, or any other bytes") from None
        if size_bytes > 255:  # RFC 1929: one length byte each
            raise ConfigError(f"{where}: user or password is too long", hint="SOCKS5 carries at most 255 bytes of each")
    return Credentials(user, password)


def _profile(profile: str | Profile, settings: tuple[str, ...]) -> Profile:
    if isinstance(profile, str):
        return load_profile(profile, settings)
    return adjust_profile(profile, settings) if settings else profile


def _refuse_open(bind: Endpoint, where: str, hint: str) -> None:
    if not bind.is_loopback:
        if bind.ip is None:
            demand_address(bind, where=where)
        raise ConfigError(f"{where}: listening on {bind} without authentication", hint=hint)
