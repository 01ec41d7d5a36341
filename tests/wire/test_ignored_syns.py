"""A SYN that gets no answer: whether the guest's next one asks anew."""

from __future__ import annotations

from typing import Any, cast

import pytest

from relay.stack import Stack
from relay.testing import MemoryLoop
from relay.wire.ends import Ends
from relay.wire.leg import WireLeg
from relay.wire.owners import NO_OWNERS
from relay.wire.segment import SYN, Segment
from relay.wire.tcp import Tcp

ENDS = Ends(0xC0A87F80, 40_000, 0xC0000201, 80)
AGAIN_S = 127.0  # the last of Linux's SYNs, tcp_syn_retries of 6


class Table:
    """What a leg needs of the NAT, on a clock that stands still."""

    owners = NO_OWNERS

    def __init__(self) -> None:
        self.loop = MemoryLoop()
        self.engine = cast("Any", self.loop)
        self.legs: set[WireLeg] = set()
        self.sent: list[Segment] = []

    def ask(self) -> WireLeg:
        syn = Segment(7, 0, SYN, 64_240, mss=1460)
        leg = WireLeg(self, Tcp.answering(Stack(), syn, 0, self.loop.now_s()), ENDS)
        self.legs.add(leg)
        return leg

    def send_segments(self, leg: WireLeg, segments: list[Segment]) -> None:
        self.sent += segments

    def tell_owner(self, leg: WireLeg) -> None:
        raise AssertionError("the driver is done with it")

    def on_established(self, leg: WireLeg) -> None:
        raise AssertionError("nothing is granted")

    def forget(self, leg: WireLeg) -> None:
        self.legs.discard(leg)


@pytest.mark.parametrize("once", [True, False])
def test_a_syn_that_is_ignored_once_leaves_nothing_behind_that_would_take_the_next(once: bool) -> None:
    table = Table()
    leg = table.ask()
    leg.ignore(once=once)
    assert leg.closed
    assert (table.legs == set()) is once
    if not once:
        table.loop.advance(AGAIN_S)
        assert not leg.on_segment(Segment(7, 0, SYN, 64_240, mss=1460))
        assert table.legs == {leg}
    table.loop.advance(AGAIN_S)
    assert table.legs == set()
    assert table.sent == []
