"""What a flow's records say of its times."""

from __future__ import annotations

import itertools

from relay.clock import NatClock
from relay.driver.flow_log import FlowLog
from relay.log import EventLog, Record
from relay.machine import FlowMachine


def test_when_a_flow_began_and_was_granted_follows_from_its_end_however_busy_the_host_is() -> None:
    """A thousandth of a second passes at each look at the clock."""
    ticks = itertools.count()
    log, told = EventLog(NatClock(lambda: next(ticks) / 1000)), list[Record]()
    log.subscribe(told.append)
    flow = FlowLog(log, 1, began_s := log.now_s())
    flow.granted_s = log.now_s()
    flow.write_ending(FlowMachine([]), None, (0, 0))
    (ended,) = told
    assert round(ended.at_s - ended.fields["duration_s"], 6) == began_s
    assert round(began_s + ended.fields["granted_after_s"], 6) == flow.granted_s
