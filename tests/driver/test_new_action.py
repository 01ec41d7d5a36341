"""A new action takes three places: its class, what carries it out, and its record; no other file knows it."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any, cast

import pytest

from relay.actions import SideAction
from relay.behaviours import Actions, Behaviour
from relay.driver.flow import Flow
from relay.driver.performing import PERFORMERS
from relay.events import DialSucceeded, RstReceived, Side
from relay.log import FIELDS, Record
from relay.log.reading import RecordReader
from relay.log.text import describe
from relay.log.vocabulary import COUNT, KINDS
from relay.profiles import add_behaviours
from support.memory_driver import MemoryDriver, forward


@dataclass(frozen=True, slots=True)
class Inject(SideAction):
    """Send bytes of the NAT's own to `side`."""

    data: bytes


def _inject(flow: Flow, action: Inject, because: str) -> None:
    flow.log.write("injected", side=action.side.value, times=1, because=because)
    flow.legs[action.side].write(action.data)


@dataclass(frozen=True)
class Herald(Behaviour):
    """Says something to the server as soon as it is connected, and once more when it has reset."""

    def on_dial_succeeded(self, event: DialSucceeded) -> Actions:
        yield Inject(Side.EXTERNAL, b"hear")

    def on_rst_received(self, event: RstReceived) -> Actions:
        yield Inject(Side.EXTERNAL, b"too late")


@pytest.fixture
def nat(monkeypatch: pytest.MonkeyPatch) -> MemoryDriver:
    monkeypatch.setitem(cast("dict[Any, Any]", PERFORMERS), Inject, _inject)
    monkeypatch.setitem(
        cast("dict[Any, Any]", FIELDS),
        "injected",
        {"side": "to whom", "times": "often", "because": "by what"},
    )
    monkeypatch.setitem(cast("dict[Any, Any]", KINDS), "times", COUNT)
    monkeypatch.setenv("RELAY_DEBUG", "1")
    nat = MemoryDriver("transparent")
    nat.driver.profile = add_behaviours(nat.driver.profile, [Herald])
    return nat


def test_it_is_carried_out_recorded_and_put_in_words(nat: MemoryDriver) -> None:
    nat.call(forward())
    assert nat.answer().hears() == b"hear"
    assert nat.fields("injected") == {"side": "external", "times": 1, "because": "herald"}
    assert describe(record_of(nat, "injected")) == "injected, the server, times=1, by herald"


def test_a_file_that_has_its_record_is_read(nat: MemoryDriver) -> None:
    nat.call(forward())
    nat.answer()
    written = record_of(nat, "injected")
    reader = RecordReader(io.BytesIO(f"{written.as_json(0.0)}\n".encode()))
    assert [(record.event, record.fields) for record in reader] == [("injected", written.fields)]
    assert reader.problems == []


def test_on_a_side_that_is_over_it_is_dropped(nat: MemoryDriver) -> None:
    nat.call(forward())
    nat.answer().resets()
    nat.settle()
    assert nat.told("injected") == ["injected"]
    dropped = nat.fields("action-dropped")
    assert dropped == {"action": "Inject(side=external, data=b'too late')", "because": "herald"}


def record_of(nat: MemoryDriver, event: str) -> Record:
    (record,) = (record for record in nat.records if record.event == event)
    return record
