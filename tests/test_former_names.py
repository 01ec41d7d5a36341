"""Former names: for one release they give what they gave, and say the new name."""

from __future__ import annotations

import importlib
import sys
from functools import partial
from typing import Any

import pytest

import relay.config.options
import relay.events
import relay.log.memory
import relay.log.text
from relay.behaviours import Actions, Behaviour
from relay.events import ConnectRequested, Event, InitiatorVanished, Side
from relay.log import FIELDS, EventType
from relay.testing import serve_in_thread


@pytest.mark.parametrize(
    ("former", "home", "names"),
    [
        ("relay.eventlog", relay.log, ["COMMON_FIELDS", "FIELDS", "EventLog", "EventType", "Record"]),
        ("relay.options", relay.config.options, ["RelayOptions", "Settings", "configured"]),
        ("relay.textlog", relay.log.text, ["TextLines", "describe"]),
        ("relay.records", relay.log.memory, ["FlowStory", "Records", "as_text"]),
    ],
)
def test_a_former_module_warns_and_gives_the_same_objects(former: str, home: object, names: list[str]) -> None:
    sys.modules.pop(former, None)
    with pytest.warns(DeprecationWarning, match=rf"{former} is {home.__name__} now") as warned:  # type: ignore[attr-defined]
        module = importlib.import_module(former)
    assert [getattr(module, name) for name in names] == [getattr(home, name) for name in names]
    assert len(warned) == 1


@pytest.mark.parametrize(
    ("module", "former", "current"),
    [
        ("relay.actions", "Deafen", "Blackhole"),
        ("relay.actions", "LimitBuffer", "LimitWindow"),
        ("relay.actions", "SendProbes", "SetKeepalive"),
        ("relay.events", "OpenerVanished", "InitiatorVanished"),
    ],
)
def test_a_former_name_warns_and_gives_the_same_object(module: str, former: str, current: str) -> None:
    home = importlib.import_module(module)
    with pytest.warns(DeprecationWarning, match=rf"^{module}\.{former} is {module}\.{current} now$") as warned:
        assert getattr(home, former) is getattr(home, current)
    assert [warning.filename for warning in warned] == [__file__]


def test_a_former_cause_is_taken_for_its_name_now() -> None:
    with serve_in_thread("transparent", listen=None, forwards=["0:127.0.0.1:9"]) as nat:
        with (
            pytest.warns(DeprecationWarning, match=r"^idle-limit is idle-timeout now$") as warned,
            pytest.raises(AssertionError, match="because='idle-timeout'"),
        ):
            nat.wait_for("flow-ended", because="idle-limit", timeout_s=0)
        assert [warning.filename for warning in warned] == [__file__]


def test_a_name_that_never_was_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match=r"module 'relay\.events' has no attribute 'OpenerVanish'"):
        relay.events.OpenerVanish  # type: ignore[attr-defined] # noqa: B018


def test_a_handler_under_its_former_name_is_called_with_the_event() -> None:
    def note(self: Behaviour, event: Event) -> Actions:
        return []

    with pytest.warns(DeprecationWarning, match=r"^Fickle\.on_opener_vanished is on_initiator_vanished now$") as warned:
        kind = type("Fickle", (Behaviour,), {"on_opener_vanished": note})
    assert issubclass(kind, Behaviour)
    assert kind.handled == {InitiatorVanished: "on_opener_vanished"}
    assert [warning.filename for warning in warned] == [__file__]


def test_a_request_has_its_initiator_under_the_former_name() -> None:
    request = ConnectRequested(0.0, relay.Endpoint("192.0.2.1", 80), Side.EXTERNAL)
    with pytest.warns(DeprecationWarning, match=r"^ConnectRequested\.opener is ConnectRequested\.initiator now$"):
        assert request.opener is Side.EXTERNAL  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("former", "current"),
    [("deafened", EventType.BLACKHOLED), ("opener-vanished", EventType.INITIATOR_VANISHED)],
)
def test_an_event_can_be_named_and_awaited_by_its_former_name(former: str, current: EventType) -> None:
    said = f"^{former} is {current} now$"
    with pytest.warns(DeprecationWarning, match=said) as warned:
        assert getattr(EventType, former.replace("-", "_").upper()) is current
    with pytest.warns(DeprecationWarning, match=said):
        assert EventType(former) is current
    assert [warning.filename for warning in warned] == [__file__]
    fields: dict[str, Any] = dict.fromkeys(FIELDS[current], "internal")
    with serve_in_thread("transparent") as nat:
        nat._portal.call(lambda: nat._relay.log.emit(current, **fields))
        with pytest.warns(DeprecationWarning, match=said) as warned:
            assert nat.wait_for(former).event == current
    assert [warning.filename for warning in warned] == [__file__]


def test_an_event_that_never_was_is_an_error() -> None:
    with pytest.raises(AttributeError, match="type object 'EventType' has no attribute 'OPENER_VANISH'"):
        EventType.OPENER_VANISH  # type: ignore[attr-defined] # noqa: B018
    with pytest.raises(ValueError, match="'opener-vanish' is not a valid EventType"):
        EventType("opener-vanish")


def test_a_forward_takes_its_initiator_under_the_former_name() -> None:
    target = relay.Endpoint("127.0.0.1", 9)
    spec = relay.ForwardSpec(relay.Endpoint("127.0.0.1", 0), target)
    with serve_in_thread("transparent") as nat:
        forward = partial(nat._relay.forward, spec, opener=Side.EXTERNAL)
        with pytest.warns(DeprecationWarning, match=r"^forward\(opener=\.\.\.\) is forward\(initiator=\.\.\.\) now$"):
            assert nat._portal.call(forward) in nat.inbound_addresses
