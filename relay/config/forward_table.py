"""`[[forward]]` in a configuration file: where it listens, where it leads, and what its connections alone suffer.

    [[forward]]
    listen = "127.0.0.1:16379"       # or a port alone
    target = "redis.test:6379"       # or "any://": its clients say where, over SOCKS or HTTP
    profile = "aws-nat-gateway"      # in the place of the relay's, which it is without the line

    [forward.latency]                # any behaviour, as a profile has it
    delay_s = 0.1

Such a table becomes what `--forward` takes: `127.0.0.1:16379:redis.test:6379 latency.delay_s=0.1`.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Mapping
from functools import partial

from relay.address import ANYWHERE, Endpoint, parse_endpoint
from relay.behaviours import installed_behaviours, with_aliases
from relay.errors import ConfigError
from relay.profiles import Mistake, load_profile, mistakes_in_behaviour, spelt
from relay.settings import nearest

_ENDS = ("listen", "target")
_PROFILE = "profile"
_HEAD = (*_ENDS, _PROFILE)


def forward_text(table: Mapping[str, object], *, where: str) -> str:
    """The forward as `--forward` takes it.

    Raises:
        ConfigError: something in the table is wrong; naming `where` and the key.
    """
    for key in (*_ENDS, *table):
        _check_key(key, table, where)
    listen, target = _listen(table["listen"], where), _target(table["target"], where)
    settings = [f"profile={_profile(table[_PROFILE], where)}"] if _PROFILE in table else []
    settings += [text for key, value in table.items() if key not in _HEAD for text in spelt(key, value, where=where)]
    return " ".join([f"{listen}:{target}", *map(shlex.quote, settings)])


def mistakes_in_forward(table: Mapping[str, object], *, where: str) -> Iterator[Mistake]:
    """All that is wrong in such a table; paths begin with its keys."""
    checks: dict[str, Callable[[], object]] = {
        "listen": lambda: _listen(table["listen"], where),
        "target": lambda: _target(table["target"], where),
        _PROFILE: lambda: _profile(table[_PROFILE], where),
    }
    for key in dict.fromkeys((*_ENDS, *table)):
        path = (key,) if key in table else ()
        try:
            _check_key(key, table, where)
            checks.get(key, partial(str))()
        except ConfigError as error:
            yield Mistake(path, error)
            continue
        if key not in _HEAD:
            found = [
                Mistake((key, *each.path), each.error) for each in mistakes_in_behaviour(key, table[key], where=where)
            ]
            yield from found or _spelling(key, table[key], where)


def _spelling(key: str, table: object, where: str) -> Iterator[Mistake]:
    """What a profile may have, and a forward may not."""
    try:
        spelt(key, table, where=where)
    except ConfigError as error:
        yield Mistake((key,), error)


def _check_key(key: str, table: Mapping[str, object], where: str) -> None:
    known = (*_HEAD, *with_aliases(installed_behaviours()))
    if key not in known:
        raise ConfigError(f"{where}: unknown key or behaviour {key!r}", hint=nearest(key, known, what="there are"))
    if key not in table:
        raise ConfigError(f"{where}: no {key}", hint='give both, e.g. listen = 16379, target = "127.0.0.1:6379"')


def _listen(value: object, where: str) -> Endpoint:
    if type(value) is int:
        value = f"127.0.0.1:{value}"
    return _endpoint(value, f"{where}: listen", "a port, or a string")


def _profile(value: object, where: str) -> str:
    if not isinstance(value, str):
        raise ConfigError(f"{where}: profile: {value!r} is not a string", hint="a profile's name, or a TOML file")
    try:
        load_profile(value)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}", hint=error.hint) from None
    return value


def _target(value: object, where: str) -> Endpoint:
    if value == str(ANYWHERE):
        return ANYWHERE
    target = _endpoint(value, f"{where}: target", "a string")
    if target.port == 0:
        raise ConfigError(f"{where}: target: nothing can listen on port 0", hint="give the server's port")
    return target


def _endpoint(value: object, where: str, noun: str) -> Endpoint:
    if not isinstance(value, str):
        raise ConfigError(f"{where}: {value!r} is not {noun}", hint="the form is HOST:PORT, e.g. 127.0.0.1:6379")
    return parse_endpoint(value, where=where)
