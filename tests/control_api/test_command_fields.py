"""How a command is read from fields, each by itself, its default and its range; what JSON has of its result."""

from __future__ import annotations

from dataclasses import fields as fields_of

import pytest

from relay import control
from relay.address import ANYWHERE, Endpoint, ForwardSpec
from relay.control import Command
from relay.control_api.commands import COMMANDS, plain, read_command, refused
from relay.control_api.exchange import Refused
from relay.control_api.json_body import Fields
from relay.errors import ConfigError, RelayBug, Unsettled, Unsupported
from relay.events import Side
from relay.fault import Fault
from relay.log import EventLog, Record
from relay.shape import Shape
from relay.totals import Totals

_LONGEST_S = 86_400
_SLOW = {"name": "slow", "side": "server"}
_ALL_OF_A_FAULT = _SLOW | {
    "delay_s": 1,
    "jitter_s": 2,
    "rate_bytes_per_s": 3,
    "slice_bytes": 4,
    "slice_delay_s": 5,
    "end_delay_s": 6,
    "limit_bytes": 7,
    "stall": True,
    "slice_variation_bytes": 8,
    "share": 0.5,
    "end": "rst",
    "end_after_s": 9,
    "end_at_limit": True,
    "end_when_lifted": True,
}
_HELD = Fault(
    side=Side.EXTERNAL,
    shape=Shape(1, 2, 3, 4, 5, 6, 7, stall=True, slice_variation_bytes=8),
    share=0.5,
    end="rst",
    end_after_s=9,
    end_at_limit=True,
    end_when_lifted=True,
)


def read(name: str, /, **fields: object) -> Command[object]:
    return read_command(name, Fields(fields, name))


def said_of(name: str, /, **fields: object) -> str:
    with pytest.raises(Refused) as raised:
        read(name, **fields)
    assert raised.value.status == 400
    return str(raised.value)


def test_what_is_left_out_is_as_if_nothing_were_wanted() -> None:
    spec = ForwardSpec(Endpoint("127.0.0.1", 0), Endpoint("a.test", 1), ())
    assert read("open-forward", target="a.test:1") == control.OpenForward(spec, Side.INTERNAL)
    assert read("open-forward", target="any://") == control.OpenForward(ForwardSpec(spec.bind, ANYWHERE, ()))
    assert read("advance", seconds=1) == control.Advance(1, "credit")
    assert read("drain") == control.Drain(0.0)
    assert read("lift-fault", name="slow") == control.LiftFault("slow", None)
    assert read("set-fault", **_SLOW) == control.SetFault("slow", Fault(side=Side.EXTERNAL), None)
    assert read("set-seed", seed=-(2**63)) == control.SetSeed(-(2**63))


def test_every_field_of_a_fault_is_its_own_and_comes_back_as_it_was_given() -> None:
    command = read("set-fault", **_ALL_OF_A_FAULT, forward="127.0.0.1:2")
    assert command == control.SetFault("slow", _HELD, Endpoint("127.0.0.1", 2))
    assert {field.name for field in (*fields_of(Shape), *fields_of(Fault))} <= _ALL_OF_A_FAULT.keys() | {"shape"}
    told = plain(command, EventLog())
    assert told == _ALL_OF_A_FAULT | {"side": "external", "forward": "127.0.0.1:2"}
    assert plain(read("set-fault", **_SLOW), EventLog()) == {"name": "slow", "side": "external"}


@pytest.mark.parametrize("name", ["delay_s", "jitter_s", "slice_delay_s", "end_delay_s", "end_after_s"])
def test_the_times_of_a_fault_are_from_nothing_to_a_day(name: str) -> None:
    for value in (0, _LONGEST_S):
        read("set-fault", **_SLOW, **{name: value})
    for value in (-1, _LONGEST_S + 1):
        said = said_of("set-fault", **_SLOW, **{name: value})
        assert said == f"set-fault: {name}: {value} is not a number from 0 to 86400"


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"rate_bytes_per_s": -1}, "rate_bytes_per_s: -1 is not a number from 0 to inf"),
        ({"slice_bytes": -1}, f"slice_bytes: -1 is not a whole number from 0 to {2**63}"),
        ({"slice_variation_bytes": -1}, f"slice_variation_bytes: -1 is not a whole number from 0 to {2**63}"),
        ({"limit_bytes": 0.5}, f"limit_bytes: 0.5 is not a whole number from 0 to {2**63}"),
        ({"stall": 1}, "stall: 1 is not true or false"),
        ({"share": 1.5}, "share: 1.5 is not a number from 0 to 1"),
        ({"share": -0.5}, "share: -0.5 is not a number from 0 to 1"),
        ({"end": "FIN"}, "end: 'FIN' is not one of fin, rst"),
        ({"end_at_limit": 1}, "end_at_limit: 1 is not true or false"),
        ({"end_when_lifted": 1}, "end_when_lifted: 1 is not true or false"),
    ],
)
def test_the_other_fields_of_a_fault_have_their_ranges(fields: dict[str, object], said: str) -> None:
    assert said_of("set-fault", **_SLOW, **fields) == f"set-fault: {said}"


def test_a_field_that_is_wrong_is_named_as_it_is_called() -> None:
    assert said_of("open-forward", target="a:1", listen="x").startswith("open-forward: listen: ")
    assert said_of("open-forward", target="x").startswith("open-forward: target: ")
    assert said_of("adjust-forward", listen="x", settings=[]).startswith("adjust-forward: listen: ")
    assert said_of("close-forward", listen="x").startswith("close-forward: listen: ")
    assert said_of("resolve-as", name="x").startswith("resolve-as: name: ")
    assert said_of("lift-fault", name="slow", forward="x").startswith("lift-fault: forward: ")
    assert said_of("thaw", side="x") == "thaw: side: 'x' is not one of internal, external, app, server"
    assert said_of("advance", seconds=1, keepalive="x") == "advance: keepalive: 'x' is not one of credit, ignore"
    assert said_of("set-seed", seed=-(2**63) * 2).startswith("set-seed: seed: -18446744073709551616 is not a whole")


def test_a_forwards_profile_has_a_name_and_is_no_file_of_this_hosts() -> None:
    settings = ["profile=slirp", "cut.after_s=1"]
    for name, fields in (("adjust-forward", {"listen": "a:1"}), ("open-forward", {"target": "a:1"})):
        assert "profile=slirp" in repr(read(name, **fields, settings=settings))
        with pytest.raises(Refused) as raised:
            read(name, **fields, settings=["cut.after_s=1", "profile=slrp"])
        assert (raised.value.status, str(raised.value)) == (400, f"{name}: settings: unknown profile 'slrp'")
        assert raised.value.hint.startswith("did you mean slirp or libslirp? ")


def test_a_command_that_is_none_is_answered_by_those_that_there_are() -> None:
    with pytest.raises(Refused) as raised:
        read("explode")
    assert (raised.value.status, raised.value.hint) == (404, f"the commands: {', '.join(COMMANDS)}")


def test_an_error_of_the_relays_has_the_status_of_its_kind() -> None:
    for kind, status in ((ConfigError, 400), (Unsettled, 409), (Unsupported, 501), (RelayBug, 500)):
        answer = refused(kind("why"))
        assert (answer.status, str(answer)) == (status, "why")
    assert refused(ConfigError("why", hint="do so")).hint == "do so"


def test_json_has_every_kind_of_result() -> None:
    log, at = EventLog(), Endpoint("127.0.0.1", 1)
    record = Record("note", 1.5, 7, (1, "app"), {"text": "so", "because": "cut"})
    flow = control.OpenFlow(
        number=1,
        client="",
        destination="",
        process=(1, "app"),
        forward=at,
        bytes_out=2,
        bytes_in=3,
        received_out=6,
        received_in=7,
        age_s=4.5,
    )
    totals = Totals(flows=1)
    totals.ended_by["cut"] += 2
    totals.forwards_out[at] += 5
    assert plain([at, Side.EXTERNAL, None, 7], log) == ["127.0.0.1:1", "external", None, 7]
    told = plain(record, log)
    assert (told["event"], told["flow"], told["at_s"], told["text"]) == ("note", 7, 1.5, "so")
    assert plain(flow, log) == {
        "number": 1,
        "client": "",
        "destination": "",
        "process": (1, "app"),
        "forward": "127.0.0.1:1",
        "bytes_out": 2,
        "bytes_in": 3,
        "received_out": 6,
        "received_in": 7,
        "age_s": 4.5,
    }
    assert plain(totals, log) == {
        "flows": 1,
        "open": 0,
        "bytes_out": 0,
        "bytes_in": 0,
        "ended_by": {"cut": 2},
        "acted": {},
        "forwards_out": {"127.0.0.1:1": 5},
        "forwards_in": {},
        "received_out": {},
        "received_in": {},
    }
