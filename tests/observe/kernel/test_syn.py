"""The TOS byte of a connection's SYN."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable

import pytest

from observe.conftest import Connect, set_tos
from relay.observe import Syn, save_syn, syn_of
from relay.observe.kernel.syn import isn_of_syn, tos_of_options


@pytest.fixture(autouse=True)
def _linux(require: Callable[..., None]) -> None:
    require("linux")


@pytest.mark.parametrize("tos", [0, 0x08, 0x10, 0x48, 0xB8])
def test_the_syns_byte_is_found_whatever_came_after(connect: Connect, tos: int) -> None:
    client, accepted = connect(tos)
    set_tos(client, 0x20)
    client.send(b"x")
    syn = syn_of(accepted)
    assert (syn.tos, syn.kept) == (tos, True)


def test_for_ipv6_it_is_the_traffic_class(require: Callable[..., None]) -> None:
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as listener:
        assert save_syn(listener)
        with socket.socket(socket.AF_INET6) as client:
            client.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, 0x48)
            client.connect(listener.getsockname())
            accepted, _ = listener.accept()
            with accepted:
                assert syn_of(accepted) == Syn(0x48)


@pytest.mark.parametrize("bound_to", ["127.0.0.1", "::"])
def test_a_syn_is_found_once_then_the_handshakes_last_segment_stands_for_it(connect: Connect, bound_to: str) -> None:
    client, accepted = connect(0x48, bound_to=bound_to)
    set_tos(client, 0x20)
    client.send(b"x")
    syn = syn_of(accepted)
    assert (syn.tos, syn.kept) == (0x48, True)
    assert syn_of(accepted) == Syn(0x48, kept=False)


def test_a_syn_that_was_not_kept_is_not_known_over_ipv6() -> None:
    with (
        socket.create_server(("::1", 0), family=socket.AF_INET6) as listener,
        socket.create_connection(listener.getsockname()[:2]),
        listener.accept()[0] as accepted,
    ):
        assert syn_of(accepted) == Syn(None, kept=False)


def test_nothing_is_known_of_a_connection_that_is_over(connect: Connect) -> None:
    _, accepted = connect(0x48)
    accepted.close()
    assert syn_of(accepted) == Syn(None, kept=False)


@pytest.mark.parametrize(
    ("headers", "isn"),
    [
        (b"\x45".ljust(20, b"\0") + struct.pack("!HHI", 22, 4711, 0xFEDCBA98), 0xFEDCBA98),
        (b"\x4f".ljust(60, b"\0") + struct.pack("!HHI", 22, 4711, 1), 1),
        (b"\x45".ljust(20, b"\0") + struct.pack("!HHI", 22, 4711, 1)[:-1], None),
        (b"\x60".ljust(40, b"\0") + struct.pack("!HHI", 22, 4711, 1), None),
    ],
)
def test_the_sequence_number_is_behind_the_ports(headers: bytes, isn: int | None) -> None:
    assert isn_of_syn(headers) == isn


@pytest.mark.parametrize(
    ("options", "tos"),
    [
        (struct.pack("@Niii", 20, socket.IPPROTO_IP, socket.IP_TOS, 0x48), 0x48),
        (struct.pack("@Niii", 20, socket.IPPROTO_IP, socket.IP_TTL, 64), None),
        (struct.pack("@Niii", 20, socket.IPPROTO_IP, socket.IP_TOS, 0x48)[:-1], None),
        (b"", None),
    ],
)
def test_only_the_byte_that_was_asked_for_is_taken_from_the_options(options: bytes, tos: int | None) -> None:
    assert tos_of_options(options) == tos
