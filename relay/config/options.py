"""A relay's options as Python programs give them.

They are those of `relay.config.configure`, with a type, so that an editor can offer them. The command line spells the
settings of behaviours as text, `tos-reset.mask=252`; here they may also be a mapping,

    settings={"tos_reset": {"mask": 0xFC}}

and what is wrong with one is told in that spelling. A behaviour with no settings at all, `{}`, is there with its
defaults, also where the profile has it not.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TypeAlias, TypedDict, cast

from relay.behaviours import installed_behaviours
from relay.config.configure import configure
from relay.config.relay_config import RelayConfig
from relay.errors import ConfigError
from relay.profiles import Profile

__tracebackhide__ = True  # for pytest: what a test did wrong is in the test's own lines

Settings: TypeAlias = Mapping[str, Mapping[str, object]]
"""Behaviours' settings by behaviour and name: `{"tos_reset": {"mask": 0xFC}}`."""


class RelayOptions(TypedDict, total=False):
    """What `open_relay` and `serve_in_thread` take beside the profile and where to listen. Times are in seconds."""

    settings: Iterable[str] | Settings
    """What differs from the profile, for each behaviour; or `BEHAVIOUR.SETTING=VALUE`, as on the command line."""
    forwards: Iterable[str]
    """Port forwards, `[BIND:]PORT:HOST:PORT`; port 0 picks one."""
    inbound: Iterable[str]
    """Likewise, to servers of the guest's: what is dialled is then the app under test."""
    auth: str | None
    """USER:PASS that the proxy demands of every client."""
    allow_open: bool
    """Serve every client, also beyond loopback."""
    observer: str | None
    """The provider of facts to use, or `none`."""
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
    seed: int | None
    """What everything left to chance follows from; None picks one."""


def configured(profile: str | Profile, listen: str | None, options: RelayOptions) -> RelayConfig:
    """Check a relay's options and put them together.

    Raises:
        ConfigError: an option or a setting is wrong.
    """
    settings = options.get("settings", ())
    with worded_for_python(settings if isinstance(settings, Mapping) else {}) as spelt:
        told = options.copy()
        told["settings"] = spelt if isinstance(settings, Mapping) else settings
        return configure(profile, listen=listen, **told)


def from_keywords(keywords: Mapping[str, object]) -> RelayOptions:
    """Options, where every keyword whose value is a mapping holds settings of the behaviour of that name.

    Raises:
        ConfigError: some other keyword is no option.
    """
    known = RelayOptions.__annotations__.keys() - {"settings"}
    settings = {name: value for name, value in keywords.items() if isinstance(value, Mapping)}
    options = {name: value for name, value in keywords.items() if name not in settings}
    for name, value in options.items():
        if name.replace("_", "-") in installed_behaviours():
            raise _not_a_mapping(name, value)
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            guess = f"did you mean {close[0]}? " if close else ""
            raise ConfigError(f"there is no option {name!r}", hint=f"{guess}the options: {', '.join(sorted(known))}")
    return cast("RelayOptions", {**options, "settings": settings})


@contextmanager
def worded_for_python(settings: Settings) -> Iterator[list[str]]:
    """Give the settings in the command line's spelling; what is wrong with one is told in Python's.

    Raises:
        ConfigError: as whatever is done with them does.
    """
    here = dict(_spellings(settings))
    try:
        yield list(here)
    except ConfigError as error:
        wrong = next((text for text in here if str(error).startswith(f"--set {text}:")), None)
        if wrong is None:
            raise
        raise ConfigError(str(error).replace(f"--set {wrong}", here[wrong], 1), hint=error.hint) from None


def _spellings(settings: Settings) -> Iterator[tuple[str, str]]:
    for name, values in settings.items():
        behaviour = name.replace("_", "-")
        if not isinstance(values, Mapping):
            raise _not_a_mapping(name, values)
        if not values:
            yield f"{behaviour}.enabled=true", f"{name}={{}}"
        for key, value in values.items():
            text = str(value).lower() if isinstance(value, bool) else str(value)
            yield f"{behaviour}.{key}={text}", f"{name}={{{key!r}: {value!r}}}"


def _not_a_mapping(name: str, value: object) -> ConfigError:
    return ConfigError(f"{name}={value!r}: no mapping of settings", hint=f"name them: {name}={{'SETTING': VALUE}}")
