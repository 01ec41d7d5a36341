"""Endpoints, and the ways people write them on a command line.

    HOST:PORT                         127.0.0.1:1080   [::1]:1080   example.org:443
    [BIND:]PORT:HOST:PORT             8022:127.0.0.1:22   [::1]:8022:[::1]:22      (ssh -L's syntax)
    [BIND:]PORT:any://                1081:any://                                  (its clients say where)
    NAME:PORT:ADDRESS                 api.test:443:127.0.0.1                       (curl --resolve's syntax)

An IPv6 literal stands in brackets wherever a port may follow it. No name is ever resolved here.
"""

from __future__ import annotations

import ipaddress
import re
import shlex
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from relay.errors import ConfigError

MAX_PORT = 0xFFFF
_MAX_NAME = 255  # RFC 1035 section 2.3.4, and what the length byte of a SOCKS5 name can say
_COLON = re.compile(r":(?![^\[]*\])")  # one that stands outside brackets
_PART = re.compile(r"\[[^\[\]]*\]|[^\[\]]*")


class Endpoint(NamedTuple):
    """A host, as an address literal or a name, and a port (0 to 65535): a tuple, as sockets take it."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def ip(self) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
        """The host as an address, or None if it is a name."""
        return _ip_of(self.host)

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it; a name counts only if it is `localhost`."""
        return _is_loopback(self.host)


# Parsing takes 2 us, several times in each connection's life, and destinations come again and again.
@lru_cache(1024)
def _ip_of(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


@lru_cache(1024)
def _is_loopback(host: str) -> bool:
    ip = _ip_of(host)
    return ip.is_loopback if ip is not None else host == "localhost"


class _Anywhere(Endpoint):
    """No endpoint, and shown as people write it."""

    __slots__ = ()

    def __str__(self) -> str:
        return "any://"


ANYWHERE = _Anywhere("*", 0)
"""The target of a forward whose clients say themselves where they want to go, over SOCKS or HTTP: `any://`."""
_TO_ANYWHERE = f":{ANYWHERE}"


@dataclass(frozen=True, slots=True)
class ForwardSpec:
    """Listen on `bind`, and carry every connection made to it to `target`."""

    bind: Endpoint
    target: Endpoint
    settings: tuple[str, ...] = ()
    """What its connections' behaviours are set to where they differ, each `BEHAVIOUR.SETTING=VALUE`; `profile=NAME`
    has another profile in the place of the relay's."""

    def __str__(self) -> str:
        return f"{self.bind} -> {self.target}"


@dataclass(frozen=True, slots=True)
class ResolveOverride:
    """Answer `name` with `address` when it is asked for with `port`, without a look-up."""

    name: str
    port: int
    address: str


def parse_endpoint(text: str, *, where: str) -> Endpoint:
    """Read `HOST:PORT`.

    Raises:
        ConfigError: naming `where` (an option or a file's key) and the form it takes.
    """
    form = "HOST:PORT, e.g. 127.0.0.1:1080 or [::1]:1080"
    bare = text.partition("://")[2].rstrip("/") or text
    meant = f"127.0.0.1:{text}" if text.isdigit() else bare if bare != text else ""
    host, port = _split(text, (2,), where=where, form=form, meant=meant)
    return Endpoint(_host(host, where), _port(port, where))


def check_endpoint(host: object, port: object, *, where: str) -> Endpoint:
    """Take a host and a port as a program gives them, apart.

    Raises:
        ConfigError: naming `where` and which of them is wrong.
    """
    if not isinstance(host, str) or not host or len(host) > _MAX_NAME or any(c.isspace() for c in host):
        raise ConfigError(f"{where}: {host!r} is not a host", hint="give a name or an address, as text")
    if _ip_of(host) is None and not set(host).isdisjoint(":[]"):
        hint = "give a name or an address alone, an IPv6 one without brackets; the port is the next argument"
        raise ConfigError(f"{where}: {host!r} is not a host", hint=hint)
    if not isinstance(port, int) or isinstance(port, bool) or not 0 < port <= MAX_PORT:
        raise ConfigError(f"{where}: {port!r} is not a port", hint=f"a port is an integer from 1 to {MAX_PORT}")
    return Endpoint(host, port)


def parse_forward(text: str, *, where: str) -> ForwardSpec:
    """Read `[BIND:]PORT:HOST:PORT`; without BIND it is 127.0.0.1. Port 0 to listen on means: pick one.

    In the place of HOST:PORT may stand `any://`. Settings may follow, `BEHAVIOUR.SETTING=VALUE`, after spaces; they are
    not checked here.
    """
    form = "[BIND:]PORT:HOST:PORT, e.g. 8022:127.0.0.1:22"
    text, settings = _settings_behind(text, where=where, form=form)
    meant = re.sub(r"^(\d+):(\d+)$", r"\1:127.0.0.1:\2", text)
    *bind, port, host, target_port = _split(text, (3, 4), where=where, form=form, meant=meant)
    leads_anywhere = text.endswith(_TO_ANYWHERE)
    target = ANYWHERE if leads_anywhere else Endpoint(_host(host, where), _port(target_port, where))
    if target.port == 0 and not leads_anywhere:
        raise ConfigError(f"{where}: nothing can listen on port 0 of {host}", hint=f"the form is {form}")
    return ForwardSpec(Endpoint(_host(bind[0], where) if bind else "127.0.0.1", _port(port, where)), target, settings)


def _settings_behind(text: str, *, where: str, form: str) -> tuple[str, tuple[str, ...]]:
    """A forward alone, and the settings behind it; a value with spaces in it is quoted as in a shell."""
    if " " not in text.strip():
        return text, ()
    try:
        first, *settings = shlex.split(text)
    except ValueError as error:
        raise ConfigError(f"{where}: cannot read {text!r}: {error}", hint=f"the form is {form}") from None
    if any("=" not in each for each in settings):
        raise ConfigError(f"{where}: cannot read {text!r}", hint=f"the form is {form}, then settings, A.B=C")
    return first, tuple(settings)


def parse_resolve(text: str, *, where: str) -> ResolveOverride:
    """Read `NAME:PORT:ADDRESS`; the address must be a literal."""
    form = "NAME:PORT:ADDRESS, e.g. api.test:443:127.0.0.1"
    name, port, address = _split(text, (3,), where=where, form=form)
    literal = address.strip("[]")
    try:
        ipaddress.ip_address(literal)
    except ValueError:
        raise ConfigError(f"{where}: {address!r} is not an IP address", hint=f"the form is {form}") from None
    return ResolveOverride(_host(name, where).lower(), _port(port, where), literal)


def _split(text: str, counts: tuple[int, ...], *, where: str, form: str, meant: str = "") -> list[str]:
    parts = _COLON.split(text)
    is_url = "://" in text.removesuffix(_TO_ANYWHERE)
    if len(parts) not in counts or is_url or not all(_PART.fullmatch(part) for part in parts):
        guess = f"did you mean {meant}? " if meant not in {"", text} else ""
        if "::" in text.replace("://", ""):
            guess = "an IPv6 address stands in brackets; "
        raise ConfigError(f"{where}: cannot read {text!r}", hint=f"{guess}the form is {form}")
    return parts


def _host(text: str, where: str) -> str:
    host = text[1:-1] if text.startswith("[") else text
    if not host or len(host) > _MAX_NAME or any(c.isspace() for c in host):
        raise ConfigError(f"{where}: {text!r} is not a host", hint="give a name or an address, IPv6 in brackets")
    return host


def _port(text: str, where: str) -> int:
    # Few enough digits first: int() raises where there are thousands.
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(MAX_PORT)) and int(text) <= MAX_PORT):
        raise ConfigError(f"{where}: {text!r} is not a port", hint=f"a port is a number from 0 to {MAX_PORT}")
    return int(text)
