"""A change of precedence in the middle of a plain HTTP exchange: the cause of the end is the quirk, not bad HTTP."""

from __future__ import annotations

import socket

from relay.testing import serve_in_thread
from support.capabilities import need_root
from support.origins import Origin, read_until_over, wait_until_acknowledged

HALF = b"half of it"


def read_on(connection: socket.socket) -> None:
    read_until_over(connection)


def test_a_request_that_is_reset_in_its_body_ended_by_the_reset(backend: str) -> None:
    need_root()
    with Origin(read_on) as origin, serve_in_thread("vmware-fusion", backend=backend) as nat:
        length = 2 * len(HALF)
        head = f"POST http://{origin.target}/ HTTP/1.1\r\nHost: {origin.target}\r\nContent-Length: {length}\r\n\r\n"
        with socket.create_connection((nat.address.host, nat.address.port), timeout=60) as sock:
            sock.sendall(head.encode() + HALF)
            wait_until_acknowledged(sock)
            nat.wait_for("flow-connected")
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, 0x48)
            sock.sendall(HALF)
            assert read_until_over(sock) == (b"", "rst")
        ended = nat.wait_for("flow-ended").fields
        assert (ended["because"], ended["internal_because"]) == ("tos-reset", "tos-reset")
        assert (ended["external"], ended["external_because"]) == ("fin", "tos-reset")
        assert [record for record in nat.events if record.event == "fault"] == []
