"""`when`: for which connections a behaviour is there at all.

    [latency]
    when = { host = "*.example.com", port = 443, first = 3 }

Every behaviour has these conditions beside its settings. They are decided once for a connection, when its initiator has
said where it wants to go; until then a behaviour with conditions is not asked anything. For every other
connection the behaviour is absent, and costs nothing.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Any, ClassVar, TypeAlias

from relay.address import MAX_PORT, Endpoint
from relay.errors import ConfigError
from relay.settings import check_value, read_value, setting

_LISTS = ("host", "port", "process")
_EVERY = {"host": "* is every host", "port": "0-65535 is every port", "process": "* is every process that is known"}
Matcher: TypeAlias = Callable[[Endpoint, tuple[int, str] | None], bool]


@dataclass(frozen=True)
class When:
    """Conditions; those that are not given hold always. A list has commas."""

    name: ClassVar[str] = "when"

    host: str = setting("", doc="the destination as it was asked for: names, *.example.com, addresses, 192.0.2.0/24")
    port: str = setting("", doc="the destination's port: 443, or several: 80,8000-8099")
    process: str = setting("", doc="the app's process, by name or pid: curl, python*, 4711")
    nth: int = setting(0, low=0, high=10**9, doc="only the nth connection that these fit, counted from 1; 0: any")
    first: int = setting(0, low=0, high=10**9, doc="only this many connections that these fit, the first ones; 0: all")
    share: float = setting(1.0, low=0, high=1, doc="which share of these connections, by chance, from 0 to 1")

    def fits(self, destination: Endpoint, process: tuple[int, str] | None) -> bool:
        """Whether a connection to this destination, by this process, is one that counts for `nth` and `first`."""
        return all(matches(destination, process) for matches in _matchers(self))

    @property
    def counts(self) -> bool:
        """Whether it takes the number of the connection to decide."""
        return bool(self.nth or self.first)

    def holds_for(self, number: int) -> bool:
        """Whether it holds for the connection of this number, from 1, among those that fit."""
        return number == self.nth if self.nth else not self.first or number <= self.first

    @property
    def given(self) -> Mapping[str, object]:
        """The conditions that are given, by name."""
        return {name: value for name, value in asdict(self).items() if value != getattr(ALWAYS, name)}


ALWAYS = When()
"""Without any condition."""


@lru_cache(256)
def _matchers(when: When) -> tuple[Matcher, ...]:
    found: list[Matcher] = []
    if when.host:
        hosts = tuple(map(_host_matcher, when.host.split(",")))
        found.append(lambda destination, _: any(matches(destination) for matches in hosts))
    if when.port:
        ports = tuple(map(_ports, when.port.split(",")))
        found.append(lambda destination, _: any(destination.port in each for each in ports))
    if when.process:
        names = tuple(when.process.split(","))
        found.append(lambda _, process: process is not None and _is_named(process, names))
    return tuple(found)


def read_when(table: object, *, where: str) -> When:
    """The conditions of a profile's file.

    Raises:
        ConfigError: one of them is wrong; naming `where` and the condition.
    """
    if not isinstance(table, dict):
        raise ConfigError(f"{where}: {table!r} is not a table", hint='e.g. when = { host = "api.test", first = 3 }')
    given = {key: check_value(When, key, _as_text(key, value), where=f"{where}.{key}") for key, value in table.items()}
    when = When(**given)  # type: ignore[arg-type]
    for key in given:
        _check(when, key, where=f"{where}.{key}")
    return _agreeing(when, where=where)


def read_condition(when: When, key: str, text: str, *, where: str) -> When:
    """The same conditions with one more, or another, as a command line has it.

    Raises:
        ConfigError: it is wrong, naming `where`.
    """
    changes: dict[str, Any] = {key: read_value(When, key, text, where=where)}
    changed = replace(when, **changes)
    _check(changed, key, where=where)
    return _agreeing(changed, where=where)


def _as_text(key: str, value: object) -> object:
    """What may be a list, or a number, in a file."""
    if key not in _LISTS:
        return value
    several = value if isinstance(value, list) else [value]
    plain = all(isinstance(each, str) or type(each) is int for each in several)
    return ",".join(map(str, several)) if plain and several else value


def _check(when: When, key: str, *, where: str) -> None:
    text = getattr(when, key)
    if key not in _LISTS:
        return
    if not text:  # as of a variable that is not set: it would hold for every connection
        raise ConfigError(f"{where}: it is empty", hint=f"leave it out to have no such condition; {_EVERY[key]}")
    for each in text.split(","):
        try:
            if not each or each != each.strip():
                raise ValueError("is empty, or has a space beside it")
            {"host": _host_matcher, "port": _ports}.get(key, str)(each)
        except ValueError as error:
            hint = f"{key}: {When.__dataclass_fields__[key].metadata['doc']}"
            raise ConfigError(f"{where}: {each!r} {error}", hint=hint) from None


def _agreeing(when: When, *, where: str) -> When:
    if when.nth and when.first:
        hint = "nth is one connection, first are several: leave one out, or set it to 0"
        raise ConfigError(f"{where}: nth and first exclude each other", hint=hint)
    return when


@lru_cache(256)
def _host_matcher(text: str) -> Callable[[Endpoint], bool]:
    """What one entry of `host` means.

    Raises:
        ValueError: nothing.
    """
    if "/" in text:
        try:
            network = ipaddress.ip_network(text, strict=False)
        except ValueError:
            raise ValueError("is no network") from None
        return lambda destination: destination.ip is not None and destination.ip in network
    if (address := Endpoint(text.strip("[]"), 0).ip) is not None:
        return lambda destination: destination.ip == address
    if ":" in text:
        raise ValueError("is no host: its port is a condition of its own")
    pattern = text.lower().rstrip(".")
    return lambda destination: fnmatchcase(destination.host.lower().rstrip("."), pattern)


@lru_cache(256)
def _ports(text: str) -> range:
    match = re.fullmatch(r"([0-9]{1,5})(?:-([0-9]{1,5}))?", text)
    first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
    if not first <= last <= MAX_PORT:
        raise ValueError(f"is no port, or range of ports, up to {MAX_PORT}")
    return range(first, last + 1)


def _is_named(process: tuple[int, str], names: tuple[str, ...]) -> bool:
    pid, own = process
    return any(name == str(pid) or fnmatchcase(own, name) for name in names)
