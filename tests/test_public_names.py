"""The Python API: what is listed is there, documented and typed, and agrees with what it stands for."""

from __future__ import annotations

import inspect
import pydoc
import re
import sys
import typing
from collections.abc import Mapping
from pathlib import Path
from types import FunctionType
from typing import Any, assert_type

import anyio
import pytest

import relay
import relay.testing
import relay.testing.playbook
from relay import EventType
from relay.config import configure
from relay.log import FIELDS
from support.origins import Origin, echo
from support.programs import run


@pytest.mark.parametrize("module", [relay, relay.testing, relay.testing.playbook], ids=lambda module: module.__name__)
def test_every_listed_name_is_there_and_documented(module: Any) -> None:
    for name in module.__all__:
        value = getattr(module, name)
        if name != "SideName":
            assert inspect.getdoc(value), name
        assert name in dir(module)


def test_every_name_of_the_package_is_there_documented_and_listed_in_its_docstring() -> None:
    for name in relay._HOME:
        assert inspect.getdoc(getattr(relay, name)), name
        assert name in dir(relay)
        assert name in relay.__all__ or name == "Relay" or re.search(rf"\b{name}\b", relay.__doc__ or ""), name


def test_the_help_is_short() -> None:
    text = pydoc.plain(pydoc.render_doc(relay))
    assert len(text.splitlines()) < 220  # Python 3.13 gives each parameter a line
    for line in ("serve_in_thread(", "idle_timeout_s: float | None = None", "time_scale: how many times as fast"):
        assert line.replace("float | None", "'float | None'") in text or line in text
    assert "FLOW_ENDED" not in text


def test_everything_public_of_a_listed_class_is_documented() -> None:
    for name in relay._HOME:
        value = getattr(relay, name)
        if inspect.isclass(value) and not issubclass(value, tuple):
            for attribute, member in vars(value).items():
                if not attribute.startswith("_") and isinstance(member, property | FunctionType):
                    assert inspect.getdoc(member), f"{name}.{attribute}"


def test_a_name_that_is_not_listed_is_an_error() -> None:
    with pytest.raises(AttributeError, match="module 'relay' has no attribute 'open_realy'"):
        relay.open_realy  # type: ignore[attr-defined] # noqa: B018
    with pytest.raises(ImportError):
        from relay import open_realy  # type: ignore[attr-defined] # noqa: F401, PLC0415


@pytest.mark.system
def test_importing_the_package_imports_nothing_else_of_it(tmp_path: Path) -> None:
    script = "import relay, sys; print([name for name in sys.modules if name.startswith(('relay', 'anyio', 'trio'))])"
    done = run(sys.executable, "-c", script, cwd=tmp_path)
    assert done.stdout == "['relay']\n", done.stderr


def test_there_is_an_event_type_for_every_event_and_no_other() -> None:
    assert {str(event) for event in EventType} == FIELDS.keys()
    assert [event.name for event in EventType] == [event.upper().replace("-", "_") for event in FIELDS]


def test_the_options_are_those_of_configure_with_its_types() -> None:
    expected = dict(typing.get_type_hints(configure))
    for name in ("profile", "listen", "has_guests", "return"):
        del expected[name]
    options = typing.get_type_hints(relay.RelayOptions)
    del expected["settings"]
    assert options == expected


async def echoed(address: relay.Endpoint) -> bytes:
    """Say hello and take in the answer."""
    async with await anyio.connect_tcp(*address) as stream:
        await stream.send(b"hello")
        return await stream.receive()


@pytest.mark.anyio
async def test_a_program_opens_a_relay_in_its_own_loop() -> None:
    with Origin(echo) as origin:
        async with relay.open_relay("transparent", tos_reset={"mask": 0xFC}, time_scale=10) as nat:
            assert nat.profile.tos_mask == 0xFC
            assert nat.time_scale == 10
            records: list[relay.Record] = []
            nat.log.subscribe(records.append)
            assert await echoed(nat.forward(origin.host, origin.port)) == b"hello"
        assert EventType.FLOW_OPENED in {record.event for record in records}
        assert records[-1].event is not EventType.FLOW_OPENED
        with pytest.raises(relay.ConfigError, match="unknown profile 'transparant'") as caught:
            async with relay.open_relay("transparant"):
                pass
        assert caught.value.__notes__ == [f"hint: {caught.value.hint}"]


def test_a_loaded_profile_takes_settings_too() -> None:
    loaded = relay.load_profile("transparent")
    with relay.serve_in_thread(loaded, tos_reset={"mask": 1}) as nat:
        assert nat.profile.tos_mask == 1
    with relay.serve_in_thread(loaded, tos_reset={"mask": 2}) as nat:
        assert nat.profile.tos_mask == 2
    with relay.serve_in_thread(loaded) as nat:
        assert nat.profile is loaded


async def check_types(nat: relay.AsyncRelay, running: relay.RunningRelay) -> None:
    """Read by the type checker alone."""
    async with relay.open_relay("transparent", time_scale=10) as opened:
        assert_type(opened, relay.AsyncRelay)
    with relay.serve_in_thread("transparent", backend="trio", forwards=["0:127.0.0.1:80"]) as served:
        assert_type(served, relay.RunningRelay)
    assert_type(relay.load_profile("transparent"), relay.Profile)
    assert_type(nat.address, relay.Endpoint)
    assert_type(nat.config, relay.RelayConfig)
    assert_type(nat.fidelity, list[relay.QuirkFidelity])
    assert_type(nat.profile, relay.Profile)
    assert_type(nat.time_scale, float)
    assert_type(await nat.wait_for(EventType.FLOW_ENDED, because="peer"), relay.Record)
    assert_type(await nat.log_text(), str)
    assert_type(running.address, relay.Endpoint)
    assert_type(running.socks_url, str)
    assert_type(running.env, dict[str, str])
    assert_type(running.events, list[relay.Record])
    assert_type(running.flows, list[relay.FlowStory])
    assert_type(running.flows[0].ending, Mapping[str, Any] | None)
    assert_type(running.wait_for(EventType.FLOW_ENDED, because="peer"), relay.Record)
    assert_type(running.forward("127.0.0.1", 80), relay.Endpoint)
    assert_type(running.forward_inbound("127.0.0.1", 80), relay.Endpoint)
    assert_type(running.seed, int)
    assert_type(running.profile, relay.Profile)
    relay.serve_in_thread(time_scle=10)  # type: ignore[arg-type]
    relay.open_relay(time_scale="fast")  # type: ignore[arg-type]
    running.freeze("inside")  # type: ignore[arg-type]
