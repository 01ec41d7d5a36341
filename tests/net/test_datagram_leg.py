"""What a leg of datagrams has in common with other legs, and what it has not."""

from __future__ import annotations

from typing import Any, cast

import pytest

from relay.address import Endpoint
from relay.events import Side
from relay.legs import WOULD_BLOCK
from relay.legs.unowned import NO_OWNER
from relay.net.datagram_leg import DatagramLeg


class Plain(DatagramLeg):
    """A leg without a socket, which is its own owner."""

    def __init__(self) -> None:
        super().__init__(cast("Any", None), Side.EXTERNAL)
        self.owner = cast("Any", self)
        self.calls = self.let_go = 0

    local = Endpoint("127.0.0.1", 9)

    def on_leg_ready(self, leg: object) -> None:
        self.calls += 1

    def receive_into(self, buffer: memoryview) -> int:
        return WOULD_BLOCK

    def write(self, data: bytes | bytearray | memoryview) -> None:
        raise AssertionError("there is no socket")

    def _let_go(self) -> None:
        self.let_go += 1


def test_a_fresh_leg_may_have_something_to_read_and_has_room() -> None:
    leg = Plain()
    assert (leg.side, leg.peer, leg.readable, leg.closed, leg.frozen) == (Side.EXTERNAL, None, True, False, False)
    assert (leg.broken, leg.has_unsent, leg.timed_out, leg.has_room) == (0, False, False, True)


@pytest.mark.parametrize("ending", ["close", "finish", "reset", "reset_after_data", "forget"])
def test_every_ending_closes_it_and_gives_back_once_what_it_has(ending: str) -> None:
    leg = Plain()
    for _ in range(2):
        assert getattr(leg, ending)() in {None, ending == "forget"}
        assert (leg.closed, leg.readable, leg.owner, leg.let_go) == (True, False, NO_OWNER, 1)


def test_a_frozen_leg_has_no_room_and_its_owner_is_called_when_it_thaws() -> None:
    leg = Plain()
    leg.freeze()
    assert (leg.frozen, leg.has_room, leg.calls) == (True, False, 0)
    leg.thaw()
    assert (leg.frozen, leg.has_room, leg.calls) == (False, True, 1)


def test_it_has_neither_queues_nor_probes_nor_a_window() -> None:
    leg = Plain()
    leg.flush()
    leg.watch((), cast("Any", leg))
    leg.unwatch()
    leg.set_keepalive(1, 1, 1)
    leg.answer_probe()
    leg.limit_window(1)
    assert (leg.unacked_bytes(), leg.waiting_bytes(), leg.unread_bytes()) == (0, 0, 0)
    assert not any((leg.find_broken(), leg.blackhole(True), leg.blackhole(False), leg.probe(lambda: None)))
    assert (leg.glimpse_process(), leg.find_process(), leg.look_at_peer()) == (None, None, None)
    assert not leg.closed
