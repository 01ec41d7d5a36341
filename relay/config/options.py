"""A relay's options as Python programs give them.

They are those of `relay.config.configure`, with a type, so that an editor can offer them. The command line spells the
settings of behaviours as text, `tos-reset.mask=252`; here each behaviour is an argument, whose value is a mapping,

    tos_reset={"mask": 0xFC}

and an error about one, or about an option, uses that spelling. A behaviour with no settings at all, `{}`, is there with
its defaults, also where the profile has it not.
"""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any, TypeAlias, TypedDict, cast

from relay.behaviours import Behaviour, installed_behaviours, with_aliases
from relay.config.configure import configure
from relay.config.relay_config import RelayConfig
from relay.deprecation import warn_of_former_name
from relay.errors import ConfigError, Unsupported
from relay.profiles import Profile, Source
from relay.stack import Stack

__tracebackhide__ = True  # for pytest: what a test did wrong is in the test's own lines

Settings: TypeAlias = Mapping[str, Mapping[str, object]]
"""Settings by behaviour, or `stack`, and name: `{"tos_reset": {"mask": 0xFC}}`."""


class RelayOptions(TypedDict, total=False):
    """What `open_relay` and `serve_in_thread` take beside the profile and where to listen. Times are in seconds."""

    behaviours: Iterable[Behaviour | type[Behaviour]]
    """Behaviours of one's own beside those of the profile, or in place of those with the same name."""
    forwards: Iterable[str]
    """Port forwards, `[BIND:]PORT:HOST:PORT`; port 0 picks one."""
    inbound: Iterable[str]
    """Likewise, to servers of the guest's: what is dialled is then the app under test."""
    auth: str | None
    """USER:PASS that the proxy demands of every client."""
    allow_open: bool
    """Serve every client, also beyond loopback."""
    observer: str | None
    """The provider of abilities to use, or `none`."""
    strict: bool
    """Do not start if a quirk is impossible on this host."""
    resolve: Iterable[str]
    """Names to answer ourselves, `NAME:PORT:ADDRESS`."""
    source: str | None
    """The address to dial from."""
    handshake_timeout_s: float
    """How long a client has to say what it wants."""
    connect_timeout_s: float
    """How long a destination has to answer."""
    idle_timeout_s: float | None
    """Reset flows that carry no bytes for this long, in seconds of the NAT's clock; None: never."""
    drain_timeout_s: float
    """How long flows have to end by themselves when the relay drains, in seconds."""
    max_flows: int | None
    """How many flows may be open at once; a connection beyond it is refused. None: as many as there are descriptors."""
    time_scale: float
    """How many times as fast as the real clock the NAT's runs: behaviours' timers, idle limits, `at_s`."""
    clock: str
    """`running`, or `manual`: then the NAT's moves by `advance` alone, and nothing happens between two of those."""
    seed: int | None
    """What everything left to chance follows from; None picks one."""


_DEFAULTS = {
    name: parameter.default
    for name, parameter in inspect.signature(configure).parameters.items()
    if name not in {"profile", "listen", "has_guests", "settings"}
}


def configured(
    profile: str | Profile, listen: str | None, keywords: Mapping[str, object], *, stacklevel: int = 4
) -> RelayConfig:
    """Check what Python programs give by keyword and put it together: options, and behaviours' settings as mappings.

    Raises:
        ConfigError: a keyword is no option, an option or a setting is wrong.
    """
    settings = {name: value for name, value in keywords.items() if isinstance(value, Mapping)}
    options = {name: value for name, value in keywords.items() if name not in settings}
    former = options.pop("settings", settings.pop("settings", ()))
    if former:
        warn_of_former_name("settings={'tos_reset': {...}}", "tos_reset={...}", stacklevel=stacklevel)
    if isinstance(former, Mapping):
        settings, former = {**former, **settings}, ()
    for name, value in options.items():
        _check_option(name, value)
    with worded_for_python(settings) as spelt:
        try:
            return configure(profile, listen=listen, settings=[*cast("Iterable[str]", former), *spelt], **options)  # type: ignore[arg-type]
        except TypeError as error:
            given = ", ".join(f"{name}={value!r}" for name, value in options.items() if value != _DEFAULTS[name])
            raise ConfigError(f"an option is of the wrong type: {error}", hint=f"given were {given}") from error


def configured_by(arguments: dict[str, Any]) -> RelayConfig:
    """The same for the `locals()` that a function begins with whose parameters are these options, `profile`, `listen`,
    and `**settings`; what else it has is its own."""
    options = {name: value for name, value in arguments.items() if name in _DEFAULTS}
    return configured(arguments["profile"], arguments["listen"], options | arguments["settings"], stacklevel=5)


def _check_option(name: str, value: object) -> None:
    if name not in _DEFAULTS:
        if name.replace("_", "-") in (*with_aliases(installed_behaviours()), Stack.name):
            raise _not_a_mapping(name, value)
        close = difflib.get_close_matches(name, _DEFAULTS, n=1)
        guess = f"did you mean {close[0]}? " if close else ""
        raise ConfigError(f"there is no option {name!r}", hint=f"{guess}the options: {', '.join(sorted(_DEFAULTS))}")
    if isinstance(value, str) and isinstance(_DEFAULTS[name], tuple):
        raise ConfigError(f"{name}={value!r}: no list", hint=f"give a list, also of one: {name}=[{value!r}]")


_SPELT = (
    {f"--{name.removesuffix('_s').replace('_', '-')}": name for name in ("listen", *_DEFAULTS)}
    | {"--forward": "forwards"}
    | {"--auth USER:PASS": "auth='USER:PASS'", "--allow-open": "allow_open=True", "--observer none": "observer='none'"}
)
_OPTION = re.compile(r"--auth USER:PASS|--observer none|--[a-z]+(?:-[a-z]+)*")


@contextmanager
def worded_for_python(settings: Settings = MappingProxyType({})) -> Iterator[list[str]]:
    """Give the settings in the command line's spelling; an error about one, or about an option, uses Python's.

    Raises:
        ConfigError, Unsupported: as whatever is done with them does.
    """
    here = dict(_spellings(settings))
    try:
        yield list(here)
    except (ConfigError, Unsupported) as error:
        message, hint = _option_in_python(str(error)), _option_in_python(error.hint)
        for text, spelling in here.items():
            for where in (source.where(text) for source in Source):
                if str(error).startswith(f"{where}:"):
                    message = str(error).replace(where, spelling, 1)
        raise type(error)(message, hint=hint) from None


def _option_in_python(text: str) -> str:
    return _OPTION.sub(lambda option: _SPELT.get(option[0], option[0]), text)


def _spellings(settings: Settings) -> Iterator[tuple[str, str]]:
    for name, values in settings.items():
        behaviour = name.replace("_", "-")
        if not isinstance(values, Mapping):
            raise _not_a_mapping(name, values)
        if not values:
            yield f"{behaviour}.enabled=true", f"{name}={{}}"
        for key, value in values.items():
            if key == "when" and isinstance(value, Mapping):
                yield from _conditions(name, behaviour, value)
                continue
            text = str(value).lower() if isinstance(value, bool) else str(value)
            yield f"{behaviour}.{key}={text}", f"{name}={{{key!r}: {value!r}}}"


def _conditions(name: str, behaviour: str, when: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    for key, value in when.items():
        text = ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
        yield f"{behaviour}.when.{key}={text}", f"{name}={{'when': {{{key!r}: {value!r}}}}}"


def _not_a_mapping(name: str, value: object) -> ConfigError:
    return ConfigError(f"{name}={value!r}: no mapping of settings", hint=f"name them: {name}={{'SETTING': VALUE}}")
