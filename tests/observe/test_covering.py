"""A relay covers the listeners that apps connect to while its profile minds the TOS byte, and no others."""

from __future__ import annotations

import socket

import pytest

from relay.address import Endpoint, ForwardSpec
from relay.config import configure
from relay.server import open_relay
from support.capabilities import need_root

SO_GET_FILTER = 26

pytestmark = pytest.mark.anyio


def is_covered(listener: socket.socket) -> bool:
    """Linux 6.18: a program that was loaded, not handed over, is refused to every process that asks for it."""
    try:
        listener.getsockopt(socket.SOL_SOCKET, SO_GET_FILTER)
    except PermissionError:
        return True
    return False


async def test_listeners_are_covered_as_the_settings_go() -> None:
    need_root()
    anywhere = ForwardSpec(Endpoint("127.0.0.1", 0), Endpoint("127.0.0.1", 9))
    config = configure("vmware-fusion", listen="127.0.0.1:0", inbound=[f"0:{anywhere.target}"], observer="ebpf")
    async with open_relay(config) as relay:
        relay.forward(anywhere)

        def covered() -> list[bool]:
            return [
                is_covered(front_end._listener.sock) for front_end in relay._listeners._listening if front_end._listener
            ]

        assert covered() == [True, False, True]
        relay.adjust("tos-reset.enabled=false")
        assert covered() == [False, False, False]
        relay.adjust("tos-reset.enabled=true")
        assert covered() == [True, False, True]
