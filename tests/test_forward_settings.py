"""Settings of one forward's connections alone: what has them, what does not, and what changes them."""

from __future__ import annotations

import socket
import sys

import pytest

from relay.address import Endpoint, ForwardSpec
from relay.control import AdjustForward, CloseForward, OpenForward
from relay.errors import ConfigError
from relay.testing import RunningRelay, serve_in_thread
from support.origins import Origin, echo, read_exactly

LOOPBACK = Endpoint("127.0.0.1", 0)


def is_cut(address: Endpoint) -> bool:
    """Whether a new connection's first request is its last."""
    with socket.create_connection(address, timeout=60) as app:
        app.sendall(b"x")
        try:
            return app.recv(1) != b"x"
        except ConnectionError:
            return True


def test_a_forward_has_settings_of_its_own_over_those_of_the_relay(backend: str) -> None:
    with Origin(echo) as origin, serve_in_thread("transparent", backend=backend) as nat:
        plain = nat.forward(origin.host, origin.port)
        cut = nat.forward(origin.host, origin.port, cut={"at_request": 1})
        assert [is_cut(each) for each in (plain, cut)] == [False, True]
        nat.do(AdjustForward(cut, ("cut.at_request=2",)))
        assert not is_cut(cut), "a forward's settings take the place of those that it had"
        nat.set(cut={"at_request": 1})
        assert [is_cut(each) for each in (plain, cut)] == [True, False], "the forward's lie over the relay's"
        nat.do(AdjustForward(cut, ()))
        assert is_cut(cut)
        told = [record.fields["settings"] for record in nat.events if record.event == "forward-changed"]
        assert told == [["cut.at_request=2"], []]
        nat.do(CloseForward(cut))
        assert nat.do(OpenForward(ForwardSpec(cut, Endpoint(origin.host, origin.port)))) == cut
        nat.set(cut={"enabled": False})
        assert not is_cut(cut)


def test_what_is_wrong_with_a_forwards_settings_changes_nothing() -> None:
    with Origin(echo) as origin, serve_in_thread("transparent") as nat:
        cut = nat.forward(origin.host, origin.port, cut={"at_request": 1})
        for command, says in (
            (AdjustForward(cut, ("cut.how=fin", "cut.at=1")), "settings: cut.at=1: cut has no setting 'at'"),
            (AdjustForward(cut, ("cut.how=fin",)), "transparent: cut: nothing says when it cuts"),
            (AdjustForward(cut, ("stack.mss=999",)), "settings: the stack's are those that the relay was started with"),
            (AdjustForward(Endpoint("127.0.0.1", 1), ()), "address: no forward listens at 127.0.0.1:1"),
        ):
            with pytest.raises(ConfigError) as caught:
                nat.do(command)
            assert str(caught.value) == says
        with pytest.raises(ConfigError, match=r"cut=\{'at': 1\}: cut has no setting 'at'"):
            nat.forward(origin.host, origin.port, cut={"at": 1})
        with pytest.raises(ConfigError, match="idle-timeout: half_closed_s of 9 s is longer than after_s"):
            nat.do(AdjustForward(cut, ("idle-timeout.half_closed_s=9", "idle-timeout.after_s=1")))
        assert len(nat.forward_addresses) == 1
        assert is_cut(cut)


def test_a_change_of_the_relays_settings_that_a_forwards_contradict_is_refused() -> None:
    with Origin(echo) as origin, serve_in_thread("transparent", idle_timeout={"after_s": 9}) as nat:
        nat.forward(origin.host, origin.port, idle_timeout={"half_closed_s": 5})
        with pytest.raises(ConfigError, match="longer than after_s of 3 s"):
            nat.set(idle_timeout={"after_s": 3})
        assert nat.profile.idle_limit_s == 9


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux shows the TOS byte")
def test_a_forwards_behaviours_see_what_the_relays_do_not_look_at() -> None:
    with Origin(echo) as origin, serve_in_thread("transparent") as nat:
        plain = nat.forward(origin.host, origin.port)
        watched = nat.forward(origin.host, origin.port, tos_reset={})
        assert [survives_a_change_of_tos(nat, each) for each in (plain, watched)] == [True, False]


def survives_a_change_of_tos(nat: RunningRelay, address: Endpoint) -> bool:
    with socket.create_connection(address, timeout=60) as app:
        app.sendall(b"x")
        read_exactly(app, 1)
        app.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, 0x48)
        try:
            app.sendall(b"y")
            return app.recv(1) == b"y"
        except ConnectionError:
            return False
