"""The commands of a running relay are values, which can be carried from one process to another."""

from __future__ import annotations

import pickle
import socket

import pytest

from relay import control
from relay.address import Endpoint, ForwardSpec, ResolveOverride
from relay.control import (
    Adjust,
    Advance,
    Command,
    Freeze,
    LinkDown,
    OpenForward,
    ResolveAs,
    SetSeed,
    SetTimeScale,
    Thaw,
)
from relay.errors import ConfigError, RelayBug
from relay.events import Side
from relay.fault import Fault
from relay.shape import Shape
from relay.testing import serve_in_thread

_FORWARD = ForwardSpec(Endpoint("127.0.0.1", 0), Endpoint("127.0.0.1", 9))
COMMANDS: tuple[Command[object], ...] = (
    Freeze(Side.EXTERNAL),
    Thaw(Side.EXTERNAL),
    LinkDown(),
    Adjust(("tos-reset.mask=0xFC",)),
    OpenForward(_FORWARD),
    OpenForward(_FORWARD, Side.EXTERNAL),
    ResolveAs(ResolveOverride("name", 80, "192.0.2.1")),
    SetTimeScale(10.0),
    Advance(300.0),
    SetSeed(7),
    control.SetFault("slow", Fault(side=Side.INTERNAL, shape=Shape(delay_s=0.1))),
    control.LiftFault("slow"),
    control.AdjustForward(Endpoint("127.0.0.1", 9), ("cut.after_s=1",)),
    control.CloseForward(Endpoint("127.0.0.1", 9)),
    control.CountUp(),
    control.ListFlows(),
    control.ListFaults(),
    control.Drain(1.0),
)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: type(command).__name__)
def test_a_command_survives_pickling(command: Command[object]) -> None:
    assert pickle.loads(pickle.dumps(command)) == command  # noqa: S301 - our own bytes


@pytest.mark.parametrize(
    ("named", "meant"),
    [
        (Freeze("server"), Freeze(Side.EXTERNAL)),
        (Freeze("internal"), Freeze(Side.INTERNAL)),
        (Thaw("app"), Thaw(Side.INTERNAL)),
        (OpenForward(_FORWARD, "server"), OpenForward(_FORWARD, Side.EXTERNAL)),
        (control.SetFault("slow", Fault(side="app")), control.SetFault("slow", Fault(side=Side.INTERNAL))),
    ],
)
def test_a_side_is_named_in_either_vocabulary(named: Command[object], meant: Command[object]) -> None:
    assert named == meant


def test_a_command_for_no_side_is_not_made() -> None:
    with pytest.raises(ConfigError, match="initiator: there is no side 'client'"):
        OpenForward(_FORWARD, "client")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="fault: there is no side 'client'"):
        Fault(side="client")  # type: ignore[arg-type]


def test_where_nothing_listens_it_says_so() -> None:
    one, two = Endpoint("127.0.0.1", 1), Endpoint("127.0.0.1", 2)
    assert control.no_such_forward(one, []).hint == "forwards listen at: nowhere"
    wrong = control.no_such_forward(one, [two, one])
    assert (str(wrong), wrong.hint) == (f"address: no forward listens at {one}", f"forwards listen at: {two}, {one}")


def test_there_is_a_case_for_every_command() -> None:
    kinds = {kind for kind in vars(control).values() if isinstance(kind, type) and issubclass(kind, Command)}
    assert kinds - {Command} == {type(command) for command in COMMANDS}


def test_each_is_carried_out_by_a_running_relay(backend: str) -> None:
    with serve_in_thread("vmware-fusion", backend=backend) as nat:
        for command in COMMANDS[:-1]:
            if not isinstance(command, control.CloseForward | control.AdjustForward):
                nat.do(command)
        changes = ["frozen", "thawed", "link-down", "settings-changed", "time-advanced", "fault-set", "fault-lifted"]
        assert [record.event for record in nat.events][1:] == changes
        effects = {"name": "slow", "side": "internal", "effects": ["delay_s=0.1"], "forward": None}
        assert nat.wait_for("fault-set").fields == effects
        assert nat.wait_for("fault-lifted").fields == {"name": "slow", "forward": None}
        assert not nat.do(control.LiftFault("slow")), "there is none any more, so nothing is recorded"
        assert [record.event for record in nat.events][1:] == changes
        assert (nat.time_scale, nat.seed, nat.profile.tos_mask) == (10.0, 7, 0xFC)
        (forward,), (inbound,) = nat.forward_addresses, nat.inbound_addresses
        for address in (nat.address, forward, inbound):
            socket.create_connection(address).close()
        nat.do(COMMANDS[-1])
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(nat.address)


def test_a_command_that_is_wrong_changes_nothing(backend: str) -> None:
    with serve_in_thread("vmware-fusion", backend=backend) as nat:
        for wrong in (Adjust(("tos-reset.mask=0xFC", "tos-reset.nonsense=1")), SetTimeScale(0.0), Advance(-1.0)):
            with pytest.raises(ConfigError):
                nat.do(wrong)
        with pytest.raises(RelayBug, match="is carried out nowhere"):
            nat.do(Command())
        assert (nat.time_scale, nat.profile.tos_mask) == (1.0, 0xE0)
