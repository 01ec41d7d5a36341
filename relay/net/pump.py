"""Moves bytes one way, from one leg to the other, in as few steps as the kernel allows.

    copying       into the engine's buffer, and written at once: least work while there is little to move
    splicing      through a pipe, never seen by this process: half the CPU time once there is much
    translating   copying in smaller steps, and rewritten before it is written (plain HTTP)

`Pump.run` chooses between the first two, each time. A pump reads only while its sink takes everything. If the sink does
not, the sink keeps the rest, and the source's own window then holds the sender back. So at most one buffer, or one
pipe, waits per direction. After `BUDGET_BYTES` in one go other flows have their turn. The time that translating takes
depends on the bytes, so there a clock sets the limit: `TURN_S`.
"""

from __future__ import annotations

import enum
from collections.abc import Callable

from relay.legs import BROKEN, WOULD_BLOCK, Leg
from relay.legs.outbox import Outbox
from relay.net.kernel_leg import KernelLeg
from relay.net.pipe import PipePool

BULK_BYTES = 4 * 1024 * 1024  # a direction that has moved so much is bulk, and will be spliced
TRANSLATED_BYTES = 64 * 1024  # h11 is twice as fast on these as on 256 KiB: its buffers stay in the cache
BUDGET_BYTES = 2 * 1024 * 1024  # some 0.4 ms of one core
KEPT_BUDGET_BYTES = 256 * 1024  # likewise, of what is copied twice to wait in an outbox
TURN_S = 1e-3  # of translating


class Outcome(enum.Enum):
    """Why a pump stopped."""

    WAITING = enum.auto()
    """The source has nothing more now, or the sink takes nothing more now."""
    SPENT = enum.auto()
    """Its budget is used up; call it again soon."""
    FINISHED = enum.auto()
    """The source has sent a FIN, and everything before it was handed on."""
    BROKEN = enum.auto()
    """The source's connection has broken, and everything before that was handed on."""
    REDIRECTED = enum.auto()
    """The source asks for another destination now (plain HTTP alone)."""


_STOPPED_BY = {WOULD_BLOCK: Outcome.WAITING, BROKEN: Outcome.BROKEN, 0: Outcome.FINISHED}
_WAITING, _SPENT = Outcome.WAITING, Outcome.SPENT  # Python 3.11 takes 60 ns longer for a member than for a global


class Pump:
    """One direction of one flow."""

    __slots__ = ("ended", "moved_bytes", "sink", "source")

    def __init__(self, source: Leg, sink: Leg | None) -> None:
        self.source = source
        self.sink = sink
        """Where the bytes go; None: nowhere, they are read and dropped."""
        self.moved_bytes = 0
        self.ended = False
        """Whether its owner has taken note of the source's end: a FIN, or a broken connection."""

    def run(self) -> Outcome:
        """Move what can be moved now."""
        if not self.source.readable:
            return _WAITING
        return self._splice() if self.moved_bytes >= BULK_BYTES else self._copy(self.source.loop.buffer)

    def _copy(self, buffer: memoryview) -> Outcome:
        source, budget = self.source, KEPT_BUDGET_BYTES if isinstance(self.sink, Outbox) else BUDGET_BYTES
        while source.readable and not source.frozen:
            sink = self.sink  # what is read may end it
            if sink is not None and not (sink.has_room or sink.broken):
                break
            count = source.receive_into(buffer)
            if count <= 0:
                return _STOPPED_BY[count]
            self.hand_on(buffer[:count])
            budget -= count
            if budget <= 0:
                return _SPENT
        return _WAITING

    def _splice(self) -> Outcome:
        source, sink, budget = self.source, self.sink, BUDGET_BYTES
        if not isinstance(source, KernelLeg) or not isinstance(sink, KernelLeg):
            return self._copy(source.loop.buffer)
        engine = source.loop
        engine.spin.nap()
        pipes = engine.shared(PipePool)
        while source.readable and not source.frozen and self._sink_is_free():
            pipe = pipes.borrow()
            if pipe is None:
                return self._copy(engine.buffer)
            try:
                count = source.splice_into(pipe)
            except BaseException:  # a provider's, which asks before each read
                pipe.give_back()
                raise
            if count <= 0:
                pipe.give_back()
                return _STOPPED_BY[count] if count else self._copy(engine.buffer)
            self.moved_bytes += count
            if self.sink is not None:
                sink.write_from(pipe)
            else:  # the sink was given up while the source was asked
                pipe.give_back()
                return self._copy(engine.buffer)
            budget -= count
            if budget <= 0:
                return _SPENT
        return _WAITING

    def _sink_is_free(self) -> bool:
        """Whether what is read now can be handed on, or need not be."""
        sink = self.sink
        return sink is None or bool(sink.broken) or sink.has_room

    def run_dry(self) -> None:
        """Move everything that is there, whether the sink's kernel takes it now or not."""
        self.source.readable = True
        buffer = self.source.loop.buffer
        while (count := self.source.receive_into(buffer)) > 0:
            self.hand_on(buffer[:count])

    def hand_on(self, data: bytes | memoryview) -> None:
        """Pass on bytes as if they had just been read."""
        self.moved_bytes += len(data)
        if self.sink is not None:
            self.sink.write(data)


class TranslatingPump(Pump):
    """One direction of one flow, whose bytes are rewritten on the way."""

    __slots__ = ("_is_behind", "_translate", "written_bytes")

    def __init__(
        self,
        source: Leg,
        sink: Leg | None,
        translate: Callable[[bytes], bytes],
        is_behind: Callable[[], bool],
    ) -> None:
        """`translate` may leave some of what it got for another call, with nothing; `is_behind` tells that it did."""
        super().__init__(source, sink)
        self._translate = translate
        self._is_behind = is_behind
        self.written_bytes = 0
        """How many bytes were passed on: what was read is rewritten, and some of it is for another sink."""

    def can_go_on(self) -> bool:
        """Whether some of what was read is left, and can be passed on now."""
        return self._is_behind() and self.sink is not None and not self.source.frozen and self._sink_is_free()

    def run(self) -> Outcome:
        source, is_behind = self.source, self._is_behind
        if not (source.readable or is_behind()):
            return _WAITING
        loop = source.loop
        buffer = loop.buffer[:TRANSLATED_BYTES]
        until_s = loop.now_s() + TURN_S
        while (source.readable or is_behind()) and not source.frozen and self._sink_is_free():
            if self.sink is not None and is_behind():
                self.hand_on(b"")
            elif not source.readable:
                break
            elif (count := source.receive_into(buffer)) > 0:
                self.hand_on(buffer[:count])
            else:
                return _STOPPED_BY[count]
            if loop.now_s() >= until_s:
                return _SPENT
        return _WAITING

    def run_dry(self) -> None:
        super().run_dry()
        while self.sink is not None and self._is_behind():
            self.hand_on(b"")

    def hand_on(self, data: bytes | memoryview) -> None:
        self.moved_bytes += len(data)
        if self.sink is not None:
            self.put(self._translate(bytes(data)))

    def put(self, data: bytes) -> None:
        """Pass these bytes on as they are; without a sink they are dropped."""
        if data and self.sink is not None:
            self.written_bytes += len(data)
            self.sink.write(data)
