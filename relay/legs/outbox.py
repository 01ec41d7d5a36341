"""A leg that sends as a `Shape` has it: what is written waits here until it is due.

    flow --write, finish, reset--> Outbox --when due--> the leg behind it

Bytes, FIN and RST leave in the order in which they were written, so an end never overtakes data. All else, reading
above all, is what the leg behind it does. A flow without a shape has no outbox. `relay.legs.line` has the times.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol

from relay.legs._api import Leg, LegOwner, Timer
from relay.legs.in_front import LegInFront
from relay.legs.kept import copied, give_back
from relay.legs.line import Line
from relay.legs.unowned import NO_OWNER
from relay.shape import Shape

_RESET_WITHIN_S = 900.0  # a line that stalls keeps a connection that is over for this long
_TURN_PIECES = 256  # sent in one go, then other flows have their turn; slices of a byte take 2 us each
_TURN_BYTES = 512 << 10  # likewise; some 0.2 ms of one core


class Clock(Protocol):
    """What the outbox waits by: the NAT's time."""

    def now_s(self) -> float: ...

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> Timer: ...


class _Waiting:
    """Something that waits to be sent: bytes, or an end."""

    __slots__ = ("data", "lag", "written_s")

    def __init__(self, written_s: float, lag: float, data: memoryview | None) -> None:
        self.written_s = written_s
        self.lag = lag  # from -1 to 1: its part of the jitter
        self.data = data  # None: FIN, or RST if the outbox was reset


class Outbox(LegInFront):
    """In front of a leg; see `Leg` for what both guarantee."""

    __slots__ = (
        "_at_limit",
        "_clock",
        "_held_bytes",
        "_limit_reached",
        "_line",
        "_lost_bytes",
        "_queue",
        "_reset",
        "_timer",
        "owner",
    )

    def __init__(
        self, behind: Leg, clock: Clock, draw: Callable[[], float], limit_reached: Callable[[int], None]
    ) -> None:
        """Take a leg's place; the caller puts this in front of its owner.

        Args:
            behind: the leg; its owner goes on as this one's.
            clock: for delays and rates.
            draw: a number from 0 to 1, 1 excluded, for jitter and for slices that vary.
            limit_reached: called, later, once `limit_bytes` have passed, with that limit.
        """
        super().__init__(behind)
        self.owner: LegOwner = behind.owner
        behind.owner = self
        self._clock = clock
        self._limit_reached = limit_reached
        self._line = Line(draw)
        self._queue: deque[_Waiting] = deque()
        self._held_bytes = 0
        self._lost_bytes = 0
        self._timer: Timer | None = None
        self._reset: Callable[[Leg], None] | None = None
        self._at_limit = False

    @property
    def shape(self) -> Shape:
        """How it sends."""
        return self._line.shape

    @property
    def passed_bytes(self) -> int:
        """How many bytes have passed so far: what `limit_bytes` limits."""
        return self._line.passed_bytes

    @property
    def withheld_bytes(self) -> int:
        """How many bytes that were written have not passed: they wait, or were dropped."""
        return self._held_bytes + self._lost_bytes

    @property
    def stranded_bytes(self) -> int:
        """How many of those never pass, as the shape is now: they were dropped, or stand behind a limit or a stall."""
        return self._lost_bytes + self._held_bytes - self._line.passing_bytes(self._held_bytes)

    def set_shape(self, shape: Shape) -> None:
        """Send so from now on, what waits already as well."""
        self._line.shape = shape
        self._at_limit = False
        self._send_due()
        if not self.closed:
            self.behind.loop.call_soon(self._tell_owner)  # it may have room now, and nothing else says so

    # Sending

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if not data or self.behind.closed or self._reset:
            return
        if self._sends_at_once:
            self._line.passed_bytes += len(data)
            self.behind.write(data)
            return
        if not self._queue and self.behind.has_room and not self.behind.broken:
            now_s = self._clock.now_s()
            if self._line.passes_at_once(len(data), now_s):
                self.behind.write(data)
                self._take(len(data), due_s=now_s, now_s=now_s)
                return
        self._put(copied(data))
        self._held_bytes += len(data)
        if self._timer is None or len(self._queue) == 1:
            self._send_due()

    def finish(self) -> None:
        if self._sends_at_once:
            self.behind.finish()
        else:
            self._put(None)
            self._send_due()

    def reset(self) -> None:
        """Send RST after what was written, when it is due; for the owner the leg is over at once."""
        self._reset_by(_reset)

    def reset_after_data(self) -> None:
        """The same, once the peer has acknowledged what was written."""
        self._reset_by(_reset_after_data)

    def _reset_by(self, end: Callable[[Leg], None]) -> None:
        if self.closed:
            return
        if self.behind.broken or self._sends_at_once:
            self._drop()
            end(self.behind)
            return
        self._reset = end
        self.owner = NO_OWNER
        self.behind.unwatch()
        self._put(None)
        self._send_due()

    def close(self) -> None:
        """End the leg at once; what waits is lost, as `has_unsent` says."""
        if not self._reset:
            self._drop()
            self.owner = NO_OWNER
            self.behind.close()

    def forget(self) -> bool:
        if self._reset or not self.behind.forget():
            return self._reset is not None
        self._drop()
        return True

    def flush(self) -> None:
        self.behind.flush()
        self._send_due()

    @property
    def _sends_at_once(self) -> bool:
        return not self._queue and self._line.shape.is_plain

    def _put(self, data: memoryview | None) -> None:
        self._queue.append(_Waiting(self._clock.now_s(), self._line.draw_lag(), data))

    def _send_due(self) -> None:
        """Send what is due, and wait for what is not."""
        self._disarm()
        queue, behind, line = self._queue, self.behind, self._line
        if self._reset and line.shape.stall:
            self._timer = self._clock.call_later(_RESET_WITHIN_S, self._end_now)
        until_bytes = line.passed_bytes + _TURN_BYTES
        for _ in range(_TURN_PIECES):
            if not queue or line.shape.stall or behind.frozen:
                return
            if line.passed_bytes >= until_bytes:
                break
            if behind.broken or behind.closed:
                self._give_up()
                return
            waiting, now_s = queue[0], self._clock.now_s()
            due_s = line.due_s(waiting.written_s, waiting.lag, is_end=waiting.data is None)
            if due_s > now_s:
                self._timer = self._clock.call_later(due_s - now_s, self._on_due)
                return
            if waiting.data is None:
                queue.popleft()
                self._end()
                continue
            if not behind.has_room:
                return
            if (size := line.piece_bytes(len(waiting.data))) == 0:
                self._tell_limit()
                if queue[-1].data is not None:
                    return
                self._drop_bytes()
                continue
            self._send(waiting.data, size)
            self._take(size, due_s=due_s, now_s=now_s)
        if queue:
            self._timer = self._clock.call_later(0.0, self._on_due)

    def _send(self, data: memoryview, size: int) -> None:
        """Send so much of what waits first."""
        self.behind.write(data[:size])
        if size < len(data):
            self._queue[0].data = data[size:]
        else:
            self._queue.popleft()
            give_back(data)
        self._held_bytes -= size

    def _take(self, size: int, *, due_s: float, now_s: float) -> None:
        self._line.take(size, due_s=due_s, now_s=now_s)
        if self._line.is_at_limit:
            self._tell_limit()

    def _end(self) -> None:
        if self._reset is not None and not self._queue:
            self.behind.owner = NO_OWNER
            self._reset(self.behind)
        else:
            self.behind.finish()

    def _tell_limit(self) -> None:
        limit_bytes = self._line.shape.limit_bytes
        if not self._at_limit and limit_bytes is not None:
            self._at_limit = True
            self.behind.loop.call_soon(lambda: self.closed or self._limit_reached(limit_bytes))

    def _on_due(self) -> None:
        self._timer = None
        self._send_due()
        self._tell_owner()  # it may have room again

    def _tell_owner(self) -> None:
        self.owner.on_leg_ready(self)

    def _give_up(self) -> None:
        """The peer takes nothing any more."""
        if self._reset:
            self._end_now()

    def _end_now(self) -> None:
        self._drop()
        self.behind.reset()

    def _drop_bytes(self) -> None:
        """An end waits behind bytes that are past the limit: they never pass."""
        while self._queue[0].data is not None:
            size = len(self._queue.popleft().data or b"")
            self._held_bytes -= size
            self._lost_bytes += size

    def _drop(self) -> None:
        self._disarm()
        self._queue.clear()
        self._lost_bytes += self._held_bytes
        self._held_bytes = 0

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # The leg behind it calls

    def on_leg_ready(self, leg: Leg) -> None:
        self._send_due()
        self.owner.on_leg_ready(self)

    # What both know

    @property
    def closed(self) -> bool:
        return self._reset is not None or self.behind.closed

    @property
    def has_room(self) -> bool:
        if self._sends_at_once:
            return self.behind.has_room
        return self._held_bytes < self._line.most_held_bytes and not self.behind.frozen

    @property
    def readable(self) -> bool:
        return self.behind.readable and not self._reset

    @readable.setter
    def readable(self, readable: bool) -> None:
        self.behind.readable = readable

    @property
    def has_unsent(self) -> bool:
        return bool(self._queue) or self.behind.has_unsent

    def unacked_bytes(self) -> int:
        own_bytes = self.withheld_bytes if self.closed else self._held_bytes  # a limit's are no loss of the peer's
        return own_bytes + self.behind.unacked_bytes()


def _reset(leg: Leg) -> None:
    leg.reset()


def _reset_after_data(leg: Leg) -> None:
    leg.reset_after_data()
