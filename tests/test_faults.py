"""A bug, the relay's own or a behaviour's: told once, with its flow, and shown in full to those who look for it."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace

import pytest

from relay.actions import Grant, SendFin, SetKeepalive
from relay.behaviours import Actions, Behaviour
from relay.events import DialSucceeded, RstReceived
from relay.profiles import Profile, Quirk, load_profile
from relay.testing import RunningRelay, serve_in_thread
from support.origins import Origin, echo, read_exactly, reset


@dataclass
class Broken(Behaviour):
    """Raise when the connection is there."""

    def on_dial_succeeded(self, event: DialSucceeded) -> Actions:
        raise ZeroDivisionError("a bug of the behaviour's")


@dataclass
class Late(Behaviour):
    """Ask for what is not possible any more."""

    def on_rst_received(self, event: RstReceived) -> Actions:
        yield SendFin(event.side)
        yield Grant()
        yield SetKeepalive(event.side, 1, 2, 3)


def transparent_with(kind: type[Behaviour]) -> Profile:
    transparent = load_profile("transparent")
    return replace(transparent, quirks=(*transparent.quirks, Quirk(kind, {}, "assumed", ())))


@contextmanager
def one_flow(nat: RunningRelay) -> Iterator[socket.socket]:
    """A connection to an echoing origin, which may end at once."""
    with Origin(echo) as origin, socket.create_connection(nat.forward(origin.host, origin.port), timeout=60) as sock:
        yield sock


def exchange(sock: socket.socket) -> None:
    sock.sendall(b"x")
    assert read_exactly(sock, 1) == b"x"


@pytest.fixture(params=["", "1"], ids=["by default", "with RELAY_DEBUG"])
def debug(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    monkeypatch.setenv("RELAY_DEBUG", request.param)
    return bool(request.param)


def test_a_bug_of_the_relays_is_reported_once_with_its_flow(
    backend: str, debug: bool, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise LookupError("a bug of ours")

    with serve_in_thread("transparent", backend=backend) as nat:
        monkeypatch.setattr("relay.driver.dialling.Dialling.begin", fail)
        with suppress(ConnectionResetError), one_flow(nat) as sock:
            sock.recv(1)
        nat.wait_for("flow-ended", because="fault")
        assert [(record.flow, record.fields["error"]) for record in nat.events if record.event == "fault"] == [
            (1, "LookupError: a bug of ours")
        ]
    assert capfd.readouterr().err.count("LookupError: a bug of ours") == debug


def test_a_bug_of_a_behaviours_is_reported_once_and_its_traceback_leads_to_it(
    backend: str, debug: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    with serve_in_thread(transparent_with(Broken), backend=backend) as nat:
        with suppress(ConnectionResetError), one_flow(nat) as sock:
            sock.recv(1)
        nat.wait_for("flow-ended", because="fault:broken")
        assert [record.flow for record in nat.events if record.event == "fault"] == [1]
    shown = capfd.readouterr().err
    assert shown.count('raise ZeroDivisionError("a bug of the behaviour\'s")') == debug
    assert ("Traceback" in shown) is debug


def test_an_action_that_came_too_late_is_reported_in_debug_mode_alone(backend: str, debug: bool) -> None:
    with serve_in_thread(transparent_with(Late), backend=backend) as nat:
        with one_flow(nat) as sock:
            exchange(sock)
            reset(sock)
            nat.wait_for("rst-received", side="internal")
            nat.wait_for("flow-ended")
        dropped = [(record.flow, record.fields) for record in nat.events if record.event == "action-dropped"]
    assert dropped == [
        (1, {"action": action, "because": "late"})
        for action in (
            "SendFin(side=internal)",
            "Grant()",
            "SetKeepalive(side=internal, idle_s=1, interval_s=2, count=3)",
        )
        if debug
    ]
