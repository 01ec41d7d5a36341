"""Everything that people write: addresses, options, settings of behaviours, profiles, a test's marker.

Whatever it is, `ConfigError` is all that comes of it, in one line with a hint; and what is taken can be written down
and read again. Text is fed as a command line would hand it over, bytes that are no UTF-8 as surrogates.
"""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, cast

import pytest

from fuzz.targets._api import target
from relay.address import Endpoint, parse_endpoint, parse_forward, parse_resolve
from relay.config import configure
from relay.config.options import configured
from relay.errors import ConfigError
from relay.profiles import STATUSES, Profile, adjust_profile, available, load_profile, profile_names
from relay.pytest_plugin.marker import MARKER, read_markers
from relay.settings import settings_of

_ADDRESS_TOKENS = (b"127.0.0.1", b"[::1]", b"[fe80::1%eth0]", b"a.test", b":", b"0", b"65535", b"9" * 5000, b"\xff")


_SECONDS = {"h": "handshake_timeout_s", "c": "connect_timeout_s", "d": "drain_timeout_s", "i": "idle_timeout_s"}


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


@target(*_ADDRESS_TOKENS)
def fuzz_address(data: bytes) -> str:
    """HOST:PORT, [BIND:]PORT:HOST:PORT and NAME:PORT:ADDRESS."""
    text = _text(data)
    told: list[str] = []
    with _refusal(told):
        endpoint = parse_endpoint(text, where="--x")
        _check_endpoint(endpoint)
        told.append("endpoint")
    with _refusal(told):
        spec = parse_forward(text, where="--x")
        _check_endpoint(spec.bind)
        _check_endpoint(spec.target)
        host = f"[{spec.bind.host}]"
        again = parse_forward(f"{host}:{spec.bind.port}:{spec.target}", where="--x")
        assert again == spec
        told.append("forward")
    with _refusal(told):
        override = parse_resolve(text, where="--x")
        assert Endpoint(override.address, override.port).ip is not None
        assert override.name == override.name.lower()
        assert parse_resolve(f"[{override.name}]:{override.port}:[{override.address}]", where="--x") == override
        told.append("override")
    return " ".join(told)


def _check_endpoint(endpoint: Endpoint) -> None:
    assert 0 <= endpoint.port <= 0xFFFF
    assert endpoint.host
    assert not set(endpoint.host) & set("[]"), "brackets are how it is written, not what it is"
    assert parse_endpoint(str(endpoint), where="--x") == endpoint


@target(
    *_ADDRESS_TOKENS, b"L", b"F8022:h:1\n", b"Ialice:pass\n", b"R", b"S", b"P", b"Auser:pass\n", b"A\xff:x\n", b"O\n"
)
def fuzz_options(data: bytes) -> str:
    """A relay's options, one a line: which by its first letter, then its value."""
    given: dict[str, Any] = {"listen": None}
    for line in _text(data).split("\n"):
        name, value = line[:1], line[1:]
        match name:
            case "F" | "I" | "R" | "=":
                key = {"F": "forwards", "I": "inbound", "R": "resolve", "=": "settings"}[name]
                given.setdefault(key, []).append(value)
            case "L" | "A" | "S":
                given[{"L": "listen", "A": "auth", "S": "source"}[name]] = value
            case "P" if "/" not in value and not value.endswith(".toml"):  # files have a target of their own
                given["profile"] = value
            case "O":
                given["allow_open"] = True
            case "h" | "c" | "d" | "i" | "t":
                with contextlib.suppress(ValueError):  # typer's to say
                    given[_SECONDS.get(name, "time_scale")] = float(value)
            case "m" if re.fullmatch("-?[0-9]{1,9}", value):
                given["max_flows"] = int(value)
    told: list[str] = []
    with _refusal(told):
        config = configure(**given)
        assert config.listen is not None or config.forwards or config.inbound
        for endpoint in (config.listen, *(spec.bind for spec in (*config.forwards, *config.inbound))):
            assert endpoint is None or endpoint.is_loopback or config.auth or given.get("allow_open")
        assert config.max_flows is None or config.max_flows > 0
        idle_timeout_s = given.get("idle_timeout_s")
        assert idle_timeout_s is None or 0 < cast("float", idle_timeout_s) <= 86_400
        if config.auth is not None:
            assert 0 < len(os.fsencode(config.auth.username)) < 256
            assert 0 < len(os.fsencode(config.auth.password)) < 256
            assert config.auth.match(os.fsencode(config.auth.username), os.fsencode(config.auth.password))
        told.append("taken")
    assert "user or password is no text" not in told, "whatever a command line holds is text"
    return " ".join(told)


@cache
def _shipped() -> list[Profile]:
    return available()


@target(
    b"tos-reset.", b"mask=", b"0xe0", b"enabled=false", b"local-ack.buffer_bytes=", b"\n", b"0x" + b"f" * 4000, b"1_0"
)
def fuzz_override(data: bytes) -> str:
    """BEHAVIOUR.SETTING=VALUE, one a line, over each shipped profile."""
    lines = _text(data).split("\n")
    told: list[str] = []
    for profile in _shipped():
        with _refusal(told):
            adjusted = adjust_profile(profile, lines)
            _check_profile(adjusted)
            told.append("taken")
    assert len(set(told)) == 1
    return told[0]


@target(
    b'title = "Mine"\n',
    b'extends = "vmware-fusion"\n',
    b'extends = ""\n',
    b'extends = "\\u0000/"\n',
    b'extends = "./other.toml"\n',
    b"[tos-reset]\n",
    b"[local-ack]\n",
    b"[close-mapping]\n",
    b"[link-down-reset]\n",
    b"mask = 0xFC\n",
    b"mask = ",
    b"title = ",
    b"title" + b".a" * 2000 + b" = 1\n",
    b'internal_rst = "fin"\n',
    b'half_close = """close"""\n',
    b"enabled = false\n",
    b'status = "observed"\n',
    b"evidence = [{source = 'a', says = 'b'}]\n",
    b"[[tos-reset.evidence]]\n",
    b'source = "x"\nsays = "y"\n',
    b"2021-02-03T04:05:06Z",
    b"9" * 5000,
    b"0x" + b"f" * 4000,
    b"[" * 3000,
    b"nan",
    b"\xff",
)
def fuzz_profile(data: bytes) -> str:
    """A profile's file. It may extend a shipped one, itself, or what does not exist."""
    told: list[str] = []
    with tempfile.TemporaryDirectory(prefix="profile-") as folder, _refusal(told):
        path = Path(folder, "mine.toml")
        path.write_bytes(data)
        profile = load_profile(str(path))
        assert profile.title
        assert profile.name == str(path)
        _check_profile(profile)
        told.append("taken")
    return told[0].replace(folder, "")


def _check_profile(profile: Profile) -> None:
    profile.behaviours()
    assert 0 <= profile.tos_mask <= 0xFF
    names = [quirk.name for quirk in (*profile.quirks, *profile.absent)]
    assert len(set(names)) == len(names)
    spelt = []
    for quirk in profile.quirks:
        assert quirk.status in STATUSES
        assert quirk.evidence
        assert quirk.settings.keys() == settings_of(quirk.kind).keys()
        spelt += [f"{quirk.name}.{key}={_spelt(value)}" for key, value in quirk.settings.items()]
    again = adjust_profile(profile, spelt)
    assert [(q.name, q.settings, q.status) for q in again.quirks] == [
        (q.name, q.settings, q.status) for q in profile.quirks
    ], "said again, nothing changes"


def _spelt(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


class _Item:
    """A test with its markers, innermost first, each with the place where it stands: all that is asked of an item."""

    def __init__(self, marks: list[tuple[object, pytest.Mark]]) -> None:
        self._marks = marks

    def iter_markers_with_node(self, name: str) -> Iterator[tuple[object, pytest.Mark]]:
        assert name == MARKER
        yield from self._marks


@target(
    b"fclass", b"m", b"profile=vmware-fusion ", b"tos_reset.mask=252 ", b"close_mapping.half_close=close ", b"\n", b"*"
)
def fuzz_marker(data: bytes) -> str:
    """A test's markers, one a line, function before class before module: words that are NAME=VALUE,
    BEHAVIOUR.NAME=VALUE or a profile; a line's first letter is where the marker stands.
    """
    marks = []
    for line in _text(data).split("\n"):
        args: list[Any] = []
        kwargs: dict[str, Any] = {}
        for word in line[1:].split():
            name, equals, value = word.partition("=")
            behaviour, dot, key = name.partition(".")
            if not equals:
                args.append([] if word == "*" else word)
            elif dot and isinstance(kwargs.setdefault(behaviour, {}), dict):
                kwargs[behaviour][key] = int(value) if re.fullmatch(r"[0-9]{1,9}", value) else value
            else:
                kwargs[name] = value
        marks.append((line[:1] if line[:1] in "fc" else "m", pytest.Mark(MARKER, tuple(args), kwargs, _ispytest=True)))
    marks.sort(key=lambda marked: "fcm".find(marked[0]))
    try:
        wanted = read_markers(_Item(marks))  # type: ignore[arg-type]
    except ValueError as error:
        return str(error)
    assert read_markers(_Item([mark for mark in marks for _ in "12"])) == wanted, "said twice, nothing changes"  # type: ignore[arg-type]
    assert all(len(mark.args) + ("profile" in mark.kwargs) <= 1 for _, mark in marks), "one of two profiles was taken"
    innermost = [mark for place, mark in marks if place == marks[0][0]]
    if any(mark.args or "profile" in mark.kwargs for mark in innermost):
        behaviours = {name for name, value in wanted.keywords.items() if isinstance(value, dict)}
        assert behaviours <= {name for mark in innermost for name in mark.kwargs}, "settings of another profile"
    if not isinstance(wanted.profile, str) or wanted.profile not in profile_names():
        return "another profile"
    told: list[str] = []
    with _refusal(told):
        configured(wanted.profile, "127.0.0.1:0", wanted.keywords)
        told.append("taken")
    return " ".join(told)


@contextlib.contextmanager
def _refusal(told: list[str]) -> Iterator[None]:
    """Whatever is refused is refused with a `ConfigError`, that says what and what to do."""
    try:
        yield
    except ConfigError as error:
        message, hint = str(error), error.hint
        assert message
        assert hint
        told.append(message.partition(": ")[2][:60])
