"""A profile may leave out what opens or ends connections; then no flow stays behind for ever all the same."""

from __future__ import annotations

import socket

import pytest

from relay.testing import serve_in_thread
from support.clients import ask
from support.origins import Origin, echo, reset


def say_no_more(connection: socket.socket) -> None:
    """Send a FIN at the first word, and wait for the other's."""
    connection.recv(100)
    connection.shutdown(socket.SHUT_WR)
    connection.recv(100)


@pytest.mark.parametrize("ends", ["rst", "both-fins"])
def test_a_flow_that_nothing_ends_lingers_and_is_reset(
    backend: str, ends: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relay.driver.flow.LINGER_S", 0.05)
    with (
        Origin(echo if ends == "rst" else say_no_more) as origin,
        serve_in_thread("transparent", backend=backend, close_mapping={"enabled": False}) as nat,
        socket.create_connection((nat.address.host, nat.address.port), timeout=10) as app,
    ):
        ask(app, "socks5", "127.0.0.1", origin.port)
        app.sendall(b"hello")
        if ends == "rst":
            reset(app)
        else:
            app.shutdown(socket.SHUT_WR)
            nat.wait_for("fin-received", side="external")
        ended = nat.wait_for("flow-ended").fields
        assert (ended["external"], ended["external_because"]) == ("rst", "linger")
        assert nat.flow_count == 0


def test_a_profile_that_opens_no_connection_is_named_as_the_fault(backend: str) -> None:
    with (
        serve_in_thread("transparent", backend=backend, precomplete_handshake={"enabled": False}) as nat,
        socket.create_connection((nat.address.host, nat.address.port), timeout=10) as app,
    ):
        with pytest.raises((ConnectionResetError, AssertionError)):
            ask(app, "socks5", "127.0.0.1", 9)
        assert "precomplete-handshake" in nat.wait_for("fault").fields["error"]
        assert nat.wait_for("flow-ended").fields["because"] == "fault"
