"""How flows end, as the event log tells it: every end has its cause, and each side how and because of what it ended."""

from __future__ import annotations

import socket

from relay.log.text import describe
from relay.testing import serve_in_thread
from support.origins import read_exactly


def test_a_flow_that_asked_for_nothing_has_no_destination(backend: str) -> None:
    with socket.socket() as sock, serve_in_thread(backend=backend) as nat:
        sock.connect(nat.address)
        sock.sendall(b"\x05\x01\x00")
        assert read_exactly(sock, 2) == b"\x05\x00"
    ended = nat.wait_for("flow-ended")
    assert ended.fields["destination"] is None
    assert describe(ended).startswith("ended by shutdown: nothing asked for, app rst by shutdown, 0 B out")
