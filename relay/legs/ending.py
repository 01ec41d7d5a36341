"""Endings that take their time, for legs that no flow owns any more.

reset_after_data(leg)   RST when the peer's kernel has acknowledged all we wrote, or has stopped taking any
wind_down(leg)          FIN, and whatever the peer still sends is dropped until it has sent its own
"""

from __future__ import annotations

from relay.legs._api import WOULD_BLOCK, Leg, Timer

WIND_DOWN_S = 5.0
"""How long a peer has for its own FIN when nothing more is expected of it."""
_DRAIN_POLL_S = 0.002
_DRAIN_POLL_MAX_S = 0.05
_DRAIN_STALL_S = 5.0  # a peer that takes nothing for this long counts as one that takes no more


def reset_after_data(leg: Leg) -> None:
    """Send RST once the peer's kernel has all we wrote, or has taken nothing for a while.

    What the peer sends meanwhile is read and dropped. If it stayed unread until our window closed, Linux would ignore
    the peer's ACKs, for they lie beyond that window, and would miss that the peer's own window has opened: with both
    closed nothing moves (seen on 6.18).
    """
    _reset_when_drained(leg, _DRAIN_POLL_S, leg.unacked_bytes(), leg.loop.now_s())


def _reset_when_drained(leg: Leg, poll_s: float, left: int, progress_at_s: float) -> None:
    if leg.closed:
        return
    leg.flush()
    now_left, now_s = leg.unacked_bytes(), leg.loop.now_s()
    if now_left < left:
        progress_at_s = now_s
    if not now_left or leg.broken or now_s - progress_at_s > _DRAIN_STALL_S:
        leg.reset()
        return
    _drop_some_input(leg)
    next_poll_s = min(poll_s * 2, _DRAIN_POLL_MAX_S)
    leg.loop.call_later(poll_s, lambda: _reset_when_drained(leg, next_poll_s, now_left, progress_at_s))


def wind_down(leg: Leg) -> None:
    """End in order: FIN behind what is unsent, then wait for the peer's own.

    Input is dropped meanwhile. If it stayed unread, the kernel would turn the close into a RST, and the peer might
    lose the last bytes it was sent. After `WIND_DOWN_S`, never before a thaw, the socket is closed as it is. A peer
    that still takes what is unsent has longer; one that has stopped is reset: a FIN would make its stream look whole.
    """
    if not leg.closed and not isinstance(leg.owner, _WindingDown):
        leg.owner = _WindingDown()
        leg.unwatch()
        leg.finish()
        leg.owner.on_leg_ready(leg)


class _WindingDown:
    """A leg's last owner."""

    __slots__ = ("_going_on", "_left_bytes", "_timer")

    def __init__(self) -> None:
        self._going_on = False  # with dropping, once others have had their turn
        self._timer: Timer | None = None
        self._left_bytes = 0

    def on_leg_ready(self, leg: Leg) -> None:
        if leg.frozen:
            return
        if not self._going_on:
            self._drop_input(leg)
        if self._timer is None and not leg.closed:
            self._wait(leg)

    def _drop_input(self, leg: Leg) -> None:
        count = _drop_some_input(leg)
        self._going_on = count > 0
        if self._going_on:
            leg.loop.call_soon(lambda: self._drop_input(leg))
        elif count != WOULD_BLOCK and (leg.broken or not leg.has_unsent):
            self._close(leg)

    def _wait(self, leg: Leg) -> None:
        self._left_bytes = leg.unacked_bytes()
        self._timer = leg.loop.call_later(WIND_DOWN_S, lambda: self._look_again(leg))

    def _look_again(self, leg: Leg) -> None:
        self._timer = None
        if leg.frozen or leg.closed:
            return
        if not leg.has_unsent:
            self._close(leg)
        elif leg.unacked_bytes() < self._left_bytes:
            self._wait(leg)
        else:
            leg.reset()

    def _close(self, leg: Leg) -> None:
        if self._timer is not None:
            self._timer.cancel()
        leg.close()


def _drop_some_input(leg: Leg) -> int:
    """Read once, so that other flows have their turn; return what the read returned, or `WOULD_BLOCK`."""
    return leg.receive_into(leg.loop.buffer) if leg.readable and not leg.frozen else WOULD_BLOCK
