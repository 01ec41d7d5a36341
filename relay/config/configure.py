"""Checks a relay's settings and puts them together, before anything is opened."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from itertools import combinations

from relay import defaults
from relay.address import Endpoint, ForwardSpec, parse_endpoint, parse_forward, parse_resolve
from relay.behaviours import Behaviour
from relay.config.credentials import parse_credentials
from relay.config.ranges import check_max_flows, check_time_scale, check_timeout
from relay.config.relay_config import RelayConfig
from relay.errors import ConfigError
from relay.net.listen import demand_address
from relay.profiles import Profile, add_behaviours, adjust_profile, forward_profile, load_profile
from relay.stack import Stack

_CLOCKS = ("running", "manual")


def configure(
    profile: str | Profile = defaults.PROFILE,
    *,
    settings: Iterable[str] = (),
    behaviours: Iterable[Behaviour | type[Behaviour]] = (),
    listen: str | None = defaults.LISTEN,
    has_guests: bool = False,
    forwards: Iterable[str] = (),
    inbound: Iterable[str] = (),
    auth: str | None = None,
    allow_open: bool = False,
    observer: str | None = None,
    strict: bool = False,
    resolve: Iterable[str] = (),
    source: str | None = None,
    handshake_timeout_s: float = defaults.HANDSHAKE_TIMEOUT_S,
    connect_timeout_s: float = defaults.CONNECT_TIMEOUT_S,
    idle_timeout_s: float | None = None,
    drain_timeout_s: float = defaults.DRAIN_TIMEOUT_S,
    max_flows: int | None = None,
    time_scale: float = defaults.TIME_SCALE,
    clock: str = defaults.CLOCK,
    seed: int | None = None,
) -> RelayConfig:
    """Check and put together a relay's settings.

    `profile` is a name, a TOML file's path or a loaded profile, `settings` are `BEHAVIOUR.SETTING=VALUE`, `behaviours`
    are the caller's own, beside the profile's or in place of those with the same name. `listen` is the proxy's
    HOST:PORT (None: no proxy), `forwards` and `inbound` are `[BIND:]PORT:HOST:PORT`, and settings of their connections
    alone behind that, `auth` is USER:PASS, `resolve`
    are `NAME:PORT:ADDRESS`, `source` is the address to dial from. `idle_timeout_s` is short for settings of the
    behaviour `idle-timeout`. It and `max_flows` of None are no limit. With `has_guests` there may be neither proxy nor
    forward, and settings of the stack, which is toward them; a proxy has those of `Stack.of_proxy`. The NAT's clock
    runs `time_scale` times as fast as the real one; with a `clock` of `manual` it moves by commands alone. What is left
    to chance follows from `seed`; None picks one.

    Raises:
        ConfigError: naming the option that is wrong, in the command line's words.
    """
    settings = tuple(settings)
    if not has_guests:
        _refuse_stack(settings, has_proxy=listen is not None)
    endpoint = parse_endpoint(listen, where="--listen") if listen is not None else None
    credentials = parse_credentials(auth, where="--auth") if auth is not None else None
    if endpoint is not None and credentials is None and not allow_open:
        _refuse_open(endpoint, "--listen", "add --auth USER:PASS, or --allow-open to serve every client")
    told = {"--forward": tuple(forwards), "--inbound": tuple(inbound)}
    specs = {where: tuple(parse_forward(text, where=where) for text in texts) for where, texts in told.items()}
    for where, parsed in specs.items():
        for spec in parsed:
            if not allow_open:
                _refuse_open(
                    spec.bind, where, "a forward has no authentication; add --allow-open to serve every client"
                )
    _refuse_twice(
        [
            *([("--listen", f"{listen}", endpoint)] if endpoint is not None else []),
            *(
                (where, text, spec.bind)
                for where in specs
                for text, spec in zip(told[where], specs[where], strict=True)
            ),
        ]
    )
    if not has_guests and endpoint is None and not any(specs.values()):
        raise ConfigError("nothing to listen on", hint="give --listen, --forward or --inbound")
    if source is not None and Endpoint(source, 0).ip is None:
        raise ConfigError(f"--source: {source!r} is not an IP address", hint="give one of this host's addresses")
    for name, value in (
        ("--handshake-timeout", handshake_timeout_s),
        ("--connect-timeout", connect_timeout_s),
        ("--idle-timeout", idle_timeout_s),
        ("--drain-timeout", drain_timeout_s),
    ):
        check_timeout(value, where=name)
    check_max_flows(max_flows)
    check_time_scale(time_scale, where="--time-scale")
    if clock not in _CLOCKS:
        raise ConfigError(f"clock: {clock!r} is not known", hint=f"it is {' or '.join(map(repr, _CLOCKS))}")
    configured = _profile(profile, tuple(behaviours), (*_idle_settings(idle_timeout_s), *settings))
    for where, parsed in specs.items():
        for text, spec in zip(told[where], parsed, strict=True):
            _check_settings(configured, spec, f"{where} {text}")
    return RelayConfig(
        profile=configured,
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
        drain_timeout_s=drain_timeout_s,
        max_flows=max_flows,
        time_scale=time_scale,
        clock=clock,
        seed=seed if seed is not None else secrets.randbits(32),
    )


def _check_settings(profile: Profile, spec: ForwardSpec, where: str) -> None:
    """Insist that a forward's own settings can be laid over the relay's."""
    try:
        own = forward_profile(profile, spec.settings)
    except ConfigError as error:
        told = str(error).removeprefix("--set ")
        raise ConfigError(f"{where}: {told}", hint=error.hint) from None
    if own.stack != profile.stack:
        hint = "give the relay itself these settings, with --set"
        raise ConfigError(f"{where}: the stack is not a forward's own", hint=hint)


def _profile(
    profile: str | Profile, behaviours: tuple[Behaviour | type[Behaviour], ...], settings: tuple[str, ...]
) -> Profile:
    loaded = load_profile(profile) if isinstance(profile, str) else profile
    extended = add_behaviours(loaded, behaviours) if behaviours else loaded
    return adjust_profile(extended, settings) if settings else extended


def _idle_settings(idle_timeout_s: float | None) -> tuple[str, ...]:
    """What `--idle-timeout` is short for: a proxy's limit, which resets both sides."""
    if idle_timeout_s is None:
        return ()
    settings = {"after_s": idle_timeout_s, "half_closed_s": 0, "counts": "data", "internal": "rst", "external": "rst"}
    return tuple(f"idle-timeout.{name}={value}" for name, value in settings.items())


def _refuse_stack(settings: Iterable[str], *, has_proxy: bool) -> None:
    for text in settings:
        table, _, name = text.partition("=")[0].partition(".")
        if table.strip() == Stack.name and not (has_proxy and name.strip() in Stack.of_proxy):
            raise ConfigError(
                f"--set {text}: the stack is for guests, and there are none",
                hint="guests come by `relay serve --wire SPEC` and `relay run -- COMMAND`",
            )


def _refuse_open(bind: Endpoint, where: str, hint: str) -> None:
    if not bind.is_loopback:
        if bind.ip is None:
            demand_address(bind, where=where)
        raise ConfigError(f"{where}: listening on {bind} without authentication", hint=hint)


def _refuse_twice(binds: Sequence[tuple[str, str, Endpoint]]) -> None:
    """Insist that no two listen on one port; each is an option, its text, and where it is to listen."""
    for (where, text, bind), (other, other_text, other_bind) in combinations(reversed(binds), 2):
        if bind.port == other_bind.port != 0 and (bind.host == other_bind.host or _overlap(bind, other_bind)):
            raise ConfigError(
                f"{where} {text}: {other} {other_text} listens on port {bind.port} already",
                hint="give each a port of its own; port 0 picks a free one",
            )


def _overlap(one: Endpoint, other: Endpoint) -> bool:
    """Whether one of them is every address of the other's family."""
    if one.ip is None or other.ip is None or one.ip.version != other.ip.version:
        return False
    return one.ip.is_unspecified or other.ip.is_unspecified
