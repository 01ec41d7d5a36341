"""Every command has a route, and a route does what the Python API does."""

from __future__ import annotations

import re
import socket
from importlib.resources import files

import pytest

from relay import control
from relay.address import Endpoint, ForwardSpec, ResolveOverride
from relay.control import Command
from relay.control_api.commands import COMMANDS, read_command
from relay.control_api.exchange import Refused
from relay.control_api.json_body import Fields
from relay.events import Side
from relay.fault import Fault
from relay.shape import Shape
from relay.testing import RunningRelay
from support.control_client import Client
from support.origins import Origin, echo, read_exactly

_SAME: dict[str, tuple[dict[str, object], Command[object]]] = {
    "freeze": ({"side": "server"}, control.Freeze(Side.EXTERNAL)),
    "thaw": ({"side": "internal"}, control.Thaw(Side.INTERNAL)),
    "link-down": ({}, control.LinkDown()),
    "adjust": ({"settings": ["tos-reset.mask=252"]}, control.Adjust(("tos-reset.mask=252",))),
    "open-forward": (
        {"listen": "127.0.0.1:0", "target": "192.0.2.1:22", "initiator": "server", "settings": ["cut.after_s=1"]},
        control.OpenForward(
            ForwardSpec(Endpoint("127.0.0.1", 0), Endpoint("192.0.2.1", 22), ("cut.after_s=1",)), Side.EXTERNAL
        ),
    ),
    "adjust-forward": (
        {"listen": "127.0.0.1:22", "settings": ["cut.after_s=1"]},
        control.AdjustForward(Endpoint("127.0.0.1", 22), ("cut.after_s=1",)),
    ),
    "close-forward": ({"listen": "127.0.0.1:22"}, control.CloseForward(Endpoint("127.0.0.1", 22))),
    "resolve-as": ({"name": "a.test:80:192.0.2.1"}, control.ResolveAs(ResolveOverride("a.test", 80, "192.0.2.1"))),
    "set-fault": (
        {"name": "slow", "side": "app", "delay_s": 0.1, "share": 0.5, "limit_bytes": 7, "end_at_limit": True},
        control.SetFault(
            "slow", Fault(side=Side.INTERNAL, shape=Shape(delay_s=0.1, limit_bytes=7), share=0.5, end_at_limit=True)
        ),
    ),
    "lift-fault": (
        {"name": "slow", "forward": "127.0.0.1:22"},
        control.LiftFault("slow", Endpoint("127.0.0.1", 22)),
    ),
    "set-time-scale": ({"scale": 10}, control.SetTimeScale(10)),
    "advance": ({"seconds": 300.5, "keepalive": "ignore"}, control.Advance(300.5, "ignore")),
    "set-seed": ({"seed": 7}, control.SetSeed(7)),
    "count-up": ({}, control.CountUp()),
    "list-flows": ({}, control.ListFlows()),
    "list-faults": ({}, control.ListFaults()),
    "drain": ({"at_most_s": 2}, control.Drain(2)),
}


def test_there_is_a_route_for_every_command() -> None:
    kinds = {kind for kind in vars(control).values() if isinstance(kind, type) and issubclass(kind, Command)}
    assert {type(command) for _, command in _SAME.values()} == kinds - {Command}
    assert COMMANDS.keys() == _SAME.keys()


@pytest.mark.parametrize("name", COMMANDS)
def test_its_fields_are_those_of_the_command(name: str) -> None:
    fields, command = _SAME[name]
    assert read_command(name, Fields(fields, name)) == command


@pytest.mark.parametrize("name", COMMANDS)
def test_the_page_has_every_field(name: str) -> None:
    fields = Fields(_SAME[name][0], name)
    read_command(name, fields)
    text = (files("relay.control_api") / "page" / "index.html").read_text()
    forms = re.findall(rf'<form data-command="{name}".*?</form>', text, re.DOTALL)
    if forms:
        assert set(fields._known) <= set(re.findall(r'name="(\w+)"', forms[0]))
    else:  # a button, with a side or without
        assert set(fields._known) <= {"side"} or name in {"close-forward", "lift-fault"}  # of a list's own


@pytest.mark.parametrize(
    ("name", "fields", "said"),
    [
        ("freeze", {}, "freeze: side is missing"),
        ("freeze", {"side": 7}, "freeze: side: 7 is not a string"),
        ("freeze", {"side": "client"}, "freeze: side: 'client' is not one of internal, external, app, server"),
        ("freeze", {"side": "app", "sid": 1}, "freeze: unknown field 'sid'"),
        ("advance", {"seconds": True}, "advance: seconds: True is not a number"),
        ("advance", {"seconds": 10**400}, "advance: seconds: 1000"),
        ("advance", {"seconds": float("inf")}, "advance: seconds: inf is not a number"),
        ("set-seed", {"seed": 7.5}, "set-seed: seed: 7.5 is not a whole number"),
        ("adjust", {"settings": "tos-reset.mask=1"}, "adjust: settings: 'tos-reset.mask=1' is not a list of strings"),
        ("open-forward", {"target": "nowhere"}, "open-forward: target: cannot read 'nowhere'"),
        ("open-forward", {"target": "a:1", "listen": "1"}, "open-forward: listen: cannot read '1'"),
        ("open-forward", {"target": "a:1", "settings": ["profile=x"]}, "open-forward: settings: unknown profile 'x'"),
        ("resolve-as", {"name": "a.test:80"}, "resolve-as: name: cannot read 'a.test:80'"),
        ("lift-fault", {"name": "a", "forward": "1"}, "lift-fault: forward: cannot read '1'"),
        ("drain", {"at_most_s": -1}, "drain: at_most_s: -1 is not a number from 0"),
    ],
)
def test_a_field_that_is_wrong_is_named(name: str, fields: dict[str, object], said: str) -> None:
    with pytest.raises(Refused) as raised:
        read_command(name, Fields(fields, name))
    assert raised.value.status == 400
    assert str(raised.value).startswith(said)


def test_they_are_carried_out(nat: RunningRelay, client: Client) -> None:
    assert client.ask("POST", "/relay/v1/commands/adjust", {"settings": ["tos-reset.mask=0xFC"]}).json == {
        "result": None
    }
    assert nat.profile.tos_mask == 0xFC
    assert client.ask("POST", "/relay/v1/commands/set-seed", {"seed": 7}).status == 200
    assert nat.seed == 7
    (advanced,) = client.ask("POST", "/relay/v1/commands/advance", {"seconds": 300}).json["result"]
    assert (advanced["event"], advanced["by_s"]) == ("time-advanced", 300)
    assert client.ask("POST", "/relay/v1/commands/count-up", {}).json["result"]["flows"] == 0
    assert client.ask("POST", "/relay/v1/commands/drain", {}).json == {"result": 0}
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(nat.address)


def test_a_fault_is_listed_as_it_can_be_set_again(client: Client) -> None:
    fault = {"name": "slow", "side": "internal", "delay_s": 0.1, "stall": True, "end": "rst", "end_after_s": 0}
    for name in ("set-fault", "lift-fault"):
        client.ask("POST", "/relay/v1/commands/set-fault", fault)
        (listed,) = client.ask("POST", "/relay/v1/commands/list-faults", {}).json["result"]
        assert listed == fault
        client.ask("POST", f"/relay/v1/commands/{name}", listed if name == "set-fault" else {"name": "slow"})
    assert client.ask("POST", "/relay/v1/commands/list-faults", {}).json == {"result": []}


def test_freeze_stalls_a_flow_and_thaw_lets_it_go(nat: RunningRelay, client: Client) -> None:
    with Origin(echo) as origin:
        listen = client.ask("POST", "/relay/v1/commands/open-forward", {"target": origin.target}).json["result"]
        assert nat.forward_addresses == [Endpoint("127.0.0.1", int(listen.rpartition(":")[2]))]
        with socket.create_connection(nat.forward_addresses[0], 60) as app:
            app.sendall(b"one")
            assert read_exactly(app, 3) == b"one"
            assert client.ask("POST", "/relay/v1/commands/freeze", {"side": "server"}).status == 200
            app.sendall(b"two")
            app.settimeout(0.1)
            with pytest.raises(TimeoutError):
                app.recv(3)
            app.settimeout(60)
            assert client.ask("POST", "/relay/v1/commands/thaw", {"side": "server"}).status == 200
            assert read_exactly(app, 3) == b"two"


def test_a_closed_forward_ends_its_flows_and_no_others(nat: RunningRelay, client: Client) -> None:
    with Origin(echo) as origin:
        closed, other = (nat.forward(origin.host, origin.port) for _ in range(2))
        with socket.create_connection(closed, 60) as app, socket.create_connection(other, 60) as kept:
            for sock in (app, kept):
                sock.sendall(b"one")
                assert read_exactly(sock, 3) == b"one"
            assert client.ask("POST", "/relay/v1/commands/close-forward", {"listen": str(closed)}).json == {"result": 1}
            assert app.recv(1) == b""
            nat.wait_for("flow-ended", because="command")
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(closed)
            kept.sendall(b"two")
            assert read_exactly(kept, 3) == b"two"
            assert nat.forward_addresses == [other]
            wrong = client.ask("POST", "/relay/v1/commands/close-forward", {"listen": str(closed)})
            assert wrong.status == 400
            assert wrong.json["error"] == f"close-forward: listen: no forward listens at {closed}"
            assert wrong.json["hint"] == f"forwards listen at: {other}"


def test_a_command_that_is_wrong_gets_one_line_and_a_hint(client: Client) -> None:
    wrong = client.ask("POST", "/relay/v1/commands/adjust", {"settings": ["tos-reset.nonsense=1"]})
    assert wrong.status == 400
    assert wrong.json["error"].startswith("adjust: settings: tos-reset.nonsense=1: ")
    assert wrong.json["hint"]
    unknown = client.ask("POST", "/relay/v1/commands/explode", {})
    assert (unknown.status, unknown.json["error"]) == (404, "there is no command 'explode'")
