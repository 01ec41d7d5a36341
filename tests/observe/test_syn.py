"""The TOS byte of a connection's SYN."""

from __future__ import annotations

import socket
from collections.abc import Callable

import pytest

from observe.conftest import Connect, set_tos
from relay.observe import save_syn, syn_tos


@pytest.fixture(autouse=True)
def _linux(require: Callable[..., None]) -> None:
    require("linux")


@pytest.mark.parametrize("tos", [0, 0x08, 0x10, 0x48, 0xB8])
def test_the_syns_byte_is_told_whatever_came_after(connect: Connect, tos: int) -> None:
    client, accepted = connect(tos)
    set_tos(client, 0x20)
    client.send(b"x")
    assert syn_tos(accepted) == tos


def test_for_ipv6_it_is_the_traffic_class(require: Callable[..., None]) -> None:
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as listener:
        assert save_syn(listener)
        with socket.socket(socket.AF_INET6) as client:
            client.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, 0x48)
            client.connect(listener.getsockname())
            accepted, _ = listener.accept()
            with accepted:
                assert syn_tos(accepted) == 0x48


def test_a_syn_is_told_once(connect: Connect) -> None:
    _, accepted = connect(0x48)
    assert syn_tos(accepted) == 0x48
    assert syn_tos(accepted) is None


def test_a_syn_that_was_not_kept_is_not_known() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()):
        accepted, _ = listener.accept()
        with accepted:
            assert syn_tos(accepted) is None
