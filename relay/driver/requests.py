"""Counts the requests of a flow, for the behaviours that have asked for it.

A request is what the initiator sends until the other side sends something. So it is found by who sends, not by what: a
protocol in which both sides send at will has turns and no requests. A flow whose behaviours do not ask pays nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from relay.events import RequestBegan, Side

if TYPE_CHECKING:
    from relay.driver.flow import Flow


def count_requests(flow: Flow) -> None:
    """Give the flow's machine a `RequestBegan` at each request from now on."""
    if not flow.counts_requests:
        flow.counts_requests = True
        flow.saw_data = Requests(flow, flow.saw_data).saw_data


class Requests:
    """One flow's count, by the bytes that are carried."""

    __slots__ = ("_answered", "_beside", "_flow", "_number")

    def __init__(self, flow: Flow, beside: Callable[[Side], None] | None) -> None:
        """`beside` is called for the same bytes, first."""
        self._flow = flow
        self._beside = beside
        self._answered = True
        self._number = 0

    def saw_data(self, side: Side) -> None:
        """Bytes of this side's were carried."""
        if self._beside is not None:
            self._beside(side)
        if side is not self._flow.initiator:
            self._answered = True
        elif self._answered:
            self._answered = False
            self._number += 1
            self._flow.take(RequestBegan(self._flow.now_s(), self._number))
