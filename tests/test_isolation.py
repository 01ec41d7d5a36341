"""A behaviour that raises ends its own flow, is named in the event log, and touches no other flow."""

from __future__ import annotations

import errno
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import pytest

from relay.actions import Grant, StartTimer
from relay.behaviours import Actions, Behaviour, setting
from relay.events import (
    ConnectRequested,
    DialFailed,
    DialSucceeded,
    FinReceived,
    LinkWentDown,
    RstReceived,
    TimerFired,
)
from relay.loop.readiness.epoll import EpollReadiness
from relay.profiles import Profile, Quirk, load_profile
from relay.testing import RunningRelay, serve_in_thread
from support.capabilities import missing
from support.clients import Refused, ask
from support.masses import wait_until
from support.origins import Origin, Recorder, echo, read_exactly, read_until_over, refusing_port, reset


@dataclass
class Clumsy(Behaviour):
    """Raise on one kind of event, if the destination's port is the one it cannot stand."""

    stumbles_on: str = setting("", doc="the event's name")
    port: int = setting(0, doc="the destination's port")

    def __post_init__(self) -> None:
        self._meant = False

    def _stumble(self, event: object) -> Actions:
        if self._meant and type(event).__name__ == self.stumbles_on:
            raise ZeroDivisionError("on purpose")
        return ()

    def on_connect_requested(self, event: ConnectRequested) -> Actions:
        self._meant = event.destination.port == self.port
        return self._stumble(event)

    def on_dial_succeeded(self, event: DialSucceeded) -> Actions:
        yield StartTimer("late", 0.05)
        yield from self._stumble(event)

    def on_dial_failed(self, event: DialFailed) -> Actions:
        return self._stumble(event)

    def on_fin_received(self, event: FinReceived) -> Actions:
        return self._stumble(event)

    def on_rst_received(self, event: RstReceived) -> Actions:
        return self._stumble(event)

    def on_link_went_down(self, event: LinkWentDown) -> Actions:
        return self._stumble(event)

    def on_timer_fired(self, event: TimerFired) -> Actions:
        return self._stumble(event)


@dataclass
class Confused(Behaviour):
    """Ask for what is not an action."""

    def on_link_went_down(self, event: LinkWentDown) -> Actions:
        yield "reset everything"  # type: ignore[misc]


@dataclass
class Hasty(Behaviour):
    """Ask for what cannot be: a grant for every event."""

    def on_link_went_down(self, event: LinkWentDown) -> Actions:
        yield Grant()
        yield Grant()


def profile_with(kind: type[Behaviour], **settings: object) -> Profile:
    """The control profile and a behaviour from elsewhere; its own link never resets anything."""
    transparent = load_profile("transparent")
    return replace(transparent, quirks=(*transparent.quirks, Quirk(kind, settings, "assumed", ())))


def connect(nat: RunningRelay, port: int) -> socket.socket:
    sock = socket.create_connection((nat.address.host, nat.address.port), timeout=60)
    try:
        ask(sock, "socks5", "127.0.0.1", port)
    except BaseException:
        sock.close()
        raise
    return sock


def check_exchange(sock: socket.socket) -> None:
    sock.sendall(b"untouched")
    assert read_exactly(sock, 9) == b"untouched"


@contextmanager
def bystander(nat: RunningRelay) -> Iterator[None]:
    """A flow that is open all the while, and a new one after: neither may notice anything."""
    with Origin(echo) as origin:
        with connect(nat, origin.port) as sock:
            check_exchange(sock)
            yield
            check_exchange(sock)
        nat.wait_for("flow-ended", because="internal-peer", destination=origin.target)
        with connect(nat, origin.port) as sock:
            check_exchange(sock)


def check_blamed(nat: RunningRelay, event: str, port: int) -> None:
    """Whether the log says which behaviour failed, on what, and that the flow was ended for it."""
    fault = nat.wait_for("fault")
    assert fault.fields["error"] == f"behaviour 'clumsy' failed on {event}: ZeroDivisionError: on purpose"
    ended = nat.wait_for("flow-ended", destination=f"127.0.0.1:{port}")
    assert ended.flow == fault.flow
    blamed = {ended.fields[key] for key in ("because", "internal_because", "external_because")}
    assert "fault:clumsy" in blamed
    assert [record.event for record in nat.events].count("fault") == 1


@pytest.mark.parametrize("event", ["DialSucceeded", "TimerFired", "LinkWentDown", "FinReceived"])
def test_a_behaviour_that_raises_ends_its_flow_and_no_other(event: str, backend: str) -> None:
    recorder = Recorder()
    with Origin(recorder) as origin:
        profile = profile_with(Clumsy, stumbles_on=event, port=origin.port)
        with serve_in_thread(profile, backend=backend) as nat, bystander(nat):
            try:
                with connect(nat, origin.port) as sock:
                    if event == "LinkWentDown":
                        nat.link_down()
                    if event == "FinReceived":
                        sock.shutdown(socket.SHUT_WR)
                    with pytest.raises(ConnectionResetError):
                        sock.recv(1)
            except ConnectionResetError:
                assert event == "DialSucceeded"  # that one comes before the grant
            check_blamed(nat, event, origin.port)
            assert nat.flow_count == 1
        assert recorder.take()[0].how == "rst"


def test_one_that_raises_on_a_reset_ends_the_other_side_too(backend: str) -> None:
    recorder = Recorder()
    with Origin(recorder) as origin:
        profile = profile_with(Clumsy, stumbles_on="RstReceived", port=origin.port)
        with serve_in_thread(profile, backend=backend) as nat, bystander(nat):
            with connect(nat, origin.port) as sock:
                check_exchange(sock)
                reset(sock)
            check_blamed(nat, "RstReceived", origin.port)
            ended = nat.wait_for("flow-ended", external_because="fault:clumsy").fields
            assert (ended["internal"], ended["external"]) == ("rst", "rst")
        assert recorder.take()[0].how == "rst"


def test_one_that_raises_before_the_dial_leaves_the_destination_alone(backend: str) -> None:
    with Origin(echo) as origin:
        profile = profile_with(Clumsy, stumbles_on="ConnectRequested", port=origin.port)
        with serve_in_thread(profile, backend=backend) as nat, bystander(nat):
            with pytest.raises((ConnectionResetError, AssertionError)):
                connect(nat, origin.port).close()
            check_blamed(nat, "ConnectRequested", origin.port)
        assert origin.accepted == 0


def test_one_that_raises_on_a_failed_dial_leaves_no_flow_behind(backend: str) -> None:
    with refusing_port() as port:
        profile = profile_with(Clumsy, stumbles_on="DialFailed", port=port)
        with serve_in_thread(profile, backend=backend) as nat, bystander(nat):
            with pytest.raises((ConnectionResetError, AssertionError)):
                connect(nat, port).close()
            check_blamed(nat, "DialFailed", port)
            assert nat.flow_count == 1


def test_one_that_cannot_even_be_made_ends_the_connection(backend: str) -> None:
    """A class from elsewhere may raise when the flow makes its instance."""
    made: list[object] = []

    @dataclass
    class Stillborn(Behaviour):
        """Raise once it is spoilt: loading a profile and serving one flow make instances before."""

        def __post_init__(self) -> None:
            made.append(self)
            if spoilt:
                raise ZeroDivisionError("on purpose")

        def on_connect_requested(self, event: ConnectRequested) -> Actions:
            return ()

    spoilt = False
    with Origin(echo) as origin, serve_in_thread(profile_with(Stillborn), backend=backend) as nat:
        with connect(nat, origin.port) as sock:
            check_exchange(sock)
            spoilt = True
            with pytest.raises((ConnectionResetError, AssertionError)):
                connect(nat, origin.port).close()
            assert "ZeroDivisionError" in nat.wait_for("fault").fields["error"]
            assert nat.wait_for("flow-ended").fields["because"] == "fault:stillborn"
            check_exchange(sock)
            spoilt = False
        with connect(nat, origin.port) as sock:
            check_exchange(sock)
    assert made


def test_one_that_asks_for_no_action_is_a_fault_of_its_flow(backend: str) -> None:
    with Origin(echo) as origin, serve_in_thread(profile_with(Confused), backend=backend) as nat:
        with connect(nat, origin.port) as sock:
            check_exchange(sock)
            nat.link_down()
            with pytest.raises(ConnectionResetError):
                sock.recv(1)
        assert "reset everything" in nat.wait_for("fault").fields["error"]
        assert nat.wait_for("flow-ended").fields["because"].startswith("fault")
        with connect(nat, origin.port) as sock:
            check_exchange(sock)


def test_one_that_asks_for_the_impossible_is_not_heard(backend: str) -> None:
    with Origin(echo) as origin, serve_in_thread(profile_with(Hasty), backend=backend) as nat:
        with connect(nat, origin.port) as sock:
            check_exchange(sock)
            nat.link_down()
            check_exchange(sock)
        assert "fault" not in [record.event for record in nat.events]


def test_a_fault_under_vmwares_quirks_is_the_same(backend: str) -> None:
    fusion = load_profile("vmware-fusion")
    with Origin(echo) as origin:
        quirk = Quirk(Clumsy, {"stumbles_on": "FinReceived", "port": origin.port}, "assumed", ())
        with serve_in_thread(replace(fusion, quirks=(*fusion.quirks, quirk)), backend=backend) as nat, bystander(nat):
            with connect(nat, origin.port) as sock:
                sock.shutdown(socket.SHUT_WR)
                with pytest.raises(ConnectionResetError):
                    sock.recv(1)
            check_blamed(nat, "FinReceived", origin.port)
            nat.wait_for("flow-ended", internal_because="fault:clumsy", external_because="fault:clumsy")


def fail_to_watch(monkeypatch: pytest.MonkeyPatch, *turns: bool) -> None:
    """Have the kernel watch no more sockets for this user, in these of the turns to come."""
    if sys.platform != "linux":
        missing("no other kernel limits what is watched by user")
    add, left = EpollReadiness._add, iter(turns)

    def run_out(readiness: EpollReadiness, descriptor: int) -> None:
        if next(left, False):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        add(readiness, descriptor)

    monkeypatch.setattr(EpollReadiness, "_add", run_out)


@pytest.mark.parametrize(
    ("turns", "event", "field"),
    [((True,), "fault", "error"), ((False, True), "dial-failed", "detail")],
    ids=["initiator", "destination"],
)
def test_a_socket_that_the_kernel_will_not_watch_is_closed_and_the_next_one_served(
    turns: tuple[bool, ...], event: str, field: str, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Origin(echo) as origin, serve_in_thread(backend=backend) as nat:
        forward = nat.forward("127.0.0.1", origin.port)
        with bystander(nat):
            fail_to_watch(monkeypatch, *turns)
            with socket.create_connection((forward.host, forward.port)) as sock:  # no poll, into which a RST could fall
                sock.settimeout(60)
                assert read_until_over(sock)[0] == b""
            with socket.create_connection((forward.host, forward.port), timeout=60) as sock:
                check_exchange(sock)
        assert "No space left" in nat.wait_for(event).fields[field]
        wait_until(lambda: not nat.flow_count, lambda: f"{nat.flow_count} flows are left")


def test_one_to_be_turned_away_that_the_kernel_will_not_watch_delays_no_other(
    backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Origin(echo) as origin, serve_in_thread(backend=backend, max_flows=1) as nat:
        with connect(nat, origin.port) as sock:
            fail_to_watch(monkeypatch, True)
            with socket.create_connection((nat.address.host, nat.address.port), timeout=60) as unwatched:
                assert read_until_over(unwatched)[0] == b""
            with pytest.raises(Refused):
                connect(nat, origin.port).close()
            check_exchange(sock)
        assert "No space left" in nat.wait_for("fault").fields["error"]
