"""What a flow held is given back when it is over, not when the garbage collector happens to pass.

So no ending of a flow may leave a cycle of references: with the collector off, nothing is left of the classes that only
open flows need.
"""

from __future__ import annotations

import contextlib
import gc
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial

import anyio
import pytest

from relay.address import Endpoint
from relay.behaviours.close_mapping import CloseMapping
from relay.net.dial import Address
from relay.net.resolve import Resolver
from relay.testing import serve_in_thread
from support.clients import socks5_request, whole_request
from support.masses import wait_until
from support.origins import read_until_over, reset
from support.stages import (
    CHUNKED,
    GET,
    HOST,
    LEAVINGS,
    OK,
    STAGES,
    TUNNELS,
    WHOLE,
    Parties,
    Place,
    exchange,
    http_request,
    open_place,
)

_FEW = 2
_TOS = 0x48  # precedence 2, where the SYN's was 0
_EARLY = bytes(60_000)
_HEARD = 64  # closed legs of connections that were turned away: dropped when they are so many
_WITHIN_S = 20.0  # a leg has 5 s to wind down
_KEPT = ("relay.log.", "relay.loop.timers.Timer", "relay.net.pipe.Pipe", "relay.address.Endpoint")
"""What the test itself keeps of the flows; timers, which hold nothing once cancelled; the pool of pipes; the
addresses that were asked for lately, 256 at most."""


@pytest.fixture(autouse=True)
def _no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@pytest.fixture(autouse=True)
def _a_resolver_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    async def look_up(_: Resolver, destination: Endpoint) -> list[Address]:
        if destination.host == "silent.test":
            await anyio.sleep_forever()
        return []

    monkeypatch.setattr(Resolver, "look_up", look_up)


def alive() -> Counter[str]:
    """How many objects there are of each of the relay's classes."""
    kinds = Counter(map(type, gc.get_objects()))
    named = {f"{kind.__module__}.{kind.__qualname__}": count for kind, count in kinds.items()}
    return Counter({name: named[name] for name in named if name.startswith("relay.") and not name.startswith(_KEPT)})


def check_forgotten(before: Counter[str], ending: str) -> None:
    """Wait until there is as little as before."""

    def left() -> dict[str, int]:
        return dict(alive() - before)

    wait_until(lambda: not left(), lambda: f"after {ending} there is still {left()}", timeout_s=_WITHIN_S)


def alive_once_used(place: Place) -> Counter[str]:
    """How many there are when one flow has come and gone: what is made for the first one alone is kept."""
    for sock in granted(place):
        sock.close()
    wait_until(lambda: not place.nat.flow_count, lambda: "the first flow does not end")
    return alive()


def over(client: socket.socket) -> None:
    """Wait until the relay has ended the connection."""
    with client:
        read_until_over(client)


# What a relay with short limits ends itself, or the peers by more than leaving


def refused(place: Place, front_end: str) -> None:
    with contextlib.suppress(ConnectionResetError):  # of a forward, whose kernel may be quicker
        over(place.ask(front_end, place.refusing_port))


def unreached(place: Place, destination: str, *, leaves: bool = False) -> None:
    """Ask for what is not reached, with early data; wait for the refusal, or reset before it."""
    host, _, port = destination.partition(":")
    client = place.call("socks5", place.server_port)
    client.sendall(whole_request("socks5", host, int(port or 1)) + _EARLY)
    if leaves:
        place.nat.wait_for("flow-opened", destination=f"{host}:{port or 1}")
        reset(client)
    else:
        over(client)


def misspoken(place: Place, words: bytes) -> None:
    client = place.call("proxy", place.server_port)
    client.sendall(words)
    over(client)


def misspoken_to_a_server(place: Place, words: bytes) -> None:
    client = place.call("proxy", place.server_port)
    client.sendall(words)
    with place.accept():
        over(client)


def misanswered(place: Place, *requests: tuple[str, ...], answer: bytes = b"") -> None:
    parties = exchange(*requests, answer=answer)(place)
    assert parties.server is not None
    with parties.server as server:
        if not answer:  # nor will there be one
            server.shutdown(socket.SHUT_WR)
        over(parties.client)


def handed_over(place: Place) -> None:
    client = place.call("http", place.server_port)
    client.sendall(http_request(place.server_port) + http_request(place.refusing_port))
    with place.accept() as server:
        server.sendall(WHOLE)
        over(client)


def granted(place: Place) -> tuple[socket.socket, socket.socket]:
    parties = STAGES["socks5, request under way"](place)
    assert parties.server is not None
    return parties.client, parties.server


def reset_by_a_behaviour(place: Place) -> None:
    client, server = granted(place)
    client.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, _TOS)
    client.sendall(b"marked")
    with server:
        over(client)


def broken_by_a_behaviour(place: Place) -> None:
    client, server = granted(place)
    client.shutdown(socket.SHUT_WR)
    with server:
        over(client)


def link_lost(place: Place) -> None:
    client, server = granted(place)
    place.nat.link_down()
    with server:
        over(client)


def frozen(place: Place) -> None:
    client, server = granted(place)
    place.nat.freeze("external")
    reset(client)
    place.nat.thaw("external")
    server.close()


ENDINGS: dict[str, Callable[[Place], None]] = {
    **{f"a refusal by {front_end}": partial(refused, front_end=front_end) for front_end in TUNNELS},
    "a refusal of plain HTTP": lambda place: misspoken(place, http_request(place.refusing_port)),
    "a dial that times out": lambda place: unreached(place, f"{HOST}:{place.dead_port}"),
    "a dial that is abandoned": lambda place: unreached(place, f"{HOST}:{place.dead_port}", leaves=True),
    "a name that does not exist": lambda place: unreached(place, "no.test"),
    "a look-up that times out": lambda place: unreached(place, "silent.test"),
    "a look-up that is abandoned": lambda place: unreached(place, "silent.test", leaves=True),
    "a loop": lambda place: unreached(place, str(place.nat.address)),
    "silence": lambda place: over(place.call("proxy", place.server_port)),
    "an unknown protocol": lambda place: misspoken(place, b"\0"),
    "an unknown SOCKS command": lambda place: misspoken(place, b"\5\1\0" + socks5_request(HOST, 1, command=9)),
    "an unknown SOCKS4 command": lambda place: misspoken(place, b"\4\x09" + bytes(6) + b"\0"),
    "a bad head": lambda place: misspoken(place, b"GET http://a/ HTTP/1.1\r\nnot a field\r\n\r\n"),
    "a bad destination": lambda place: misspoken(place, b"GET http://a b/ HTTP/1.1\r\n\r\n"),
    "a bad chunk": lambda place: misspoken_to_a_server(
        place, http_request(place.server_port, *CHUNKED, body="not a size\r\n")
    ),
    "a tunnel amid requests": lambda place: misanswered(place, GET, ("CONNECT",), answer=WHOLE),
    "a bad response": lambda place: misanswered(place, GET, answer=b"not a response\r\n\r\n"),
    "a bad chunk of a response": lambda place: misanswered(
        place, GET, answer=OK + b"Transfer-Encoding: chunked\r\n\r\nnot a size\r\n"
    ),
    "a missing response": lambda place: misanswered(place, GET),
    "a request for another server": handed_over,
    "a reset by a behaviour": reset_by_a_behaviour,
    "a fault of a behaviour": broken_by_a_behaviour,
    "a link that goes down": link_lost,
    "a reset while the other side is frozen": frozen,
}


def test_no_flow_is_remembered_however_the_relay_ends_it(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def stumble(*_: object) -> None:
        raise ZeroDivisionError("on purpose")

    monkeypatch.setattr(CloseMapping, "on_fin_received", stumble)
    with (
        serve_in_thread("vmware-fusion", backend=backend, connect_timeout_s=0.3, handshake_timeout_s=1.0) as nat,
        open_place(nat) as place,
    ):
        before = alive_once_used(place)
        for name, ending in ENDINGS.items():
            for _ in range(_FEW):
                ending(place)
            check_forgotten(before, name)


def leave_and_close(parties: Parties, side: str, leave: Callable[[socket.socket], None]) -> None:
    socks = {"client": parties.client, "server": parties.server}
    if (leaving := socks[side]) is not None:
        leave(leaving)
    for sock in socks.values():
        if sock is not None:
            sock.close()


def test_no_flow_is_remembered_however_a_side_leaves_it(backend: str) -> None:
    with serve_in_thread("transparent", backend=backend, connect_timeout_s=0.3) as nat, open_place(nat) as place:
        before = alive_once_used(place)
        for stage in STAGES:
            for side in ("client", "server"):
                for leave in LEAVINGS.values():
                    leave_and_close(STAGES[stage](place), side, leave)
        check_forgotten(before, "all flows were left")


def test_no_idle_flow_is_remembered(backend: str) -> None:
    with serve_in_thread(backend=backend, idle_timeout_s=3600) as nat, open_place(nat) as place:
        before = alive_once_used(place)
        for _ in range(_FEW):
            client, server = granted(place)
            nat.advance(3600)
            over(client)
            server.close()
        check_forgotten(before, "the idle limit")


def test_no_connection_beyond_the_limit_is_remembered(backend: str) -> None:
    with serve_in_thread(backend=backend, max_flows=1, handshake_timeout_s=1.0) as nat, open_place(nat) as place:
        before = alive_once_used(place)
        client, server = granted(place)
        for _ in range(_FEW):
            for front_end in TUNNELS:
                refused(place, front_end)
            over(place.call("proxy", place.server_port))
            reset(place.ask("socks5", place.server_port))
        client.close()
        server.close()
        before["relay.net.kernel_leg.KernelLeg"] += _HEARD
        check_forgotten(before, "as many flows as there may be")


def test_no_flow_of_a_relay_that_has_stopped_is_remembered(backend: str) -> None:
    with contextlib.ExitStack() as sockets:
        with serve_in_thread(backend=backend) as nat:
            place = sockets.enter_context(open_place(nat))
            before = alive_once_used(place)
            for stage in STAGES.values():
                stage(place)
        left = alive() - before
        assert not left
