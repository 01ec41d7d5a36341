"""What the server keeps of one client: its scripts, their reports, and what it may still have.

A report waits until the client says that it has it: the control connection may die meanwhile, for it crosses the NAT
that is measured, and the client comes back by the session's name.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import anyio

from relay.errors import ProtocolError
from relay.probe.clock import ProbeClock
from relay.probe.protocol.proof import session_key
from relay.probe.protocol.steps import Send, Step
from relay.probe.server.limits import KEEP_HELD_S, MAX_CONNECTIONS, MAX_SESSION_BYTES
from relay.probe.server.script import Script
from relay.probe.stream import Broken, Stream


class Session:
    """One client's probe."""

    def __init__(self, name: bytes, token: bytes, peer: str, clock: ProbeClock) -> None:
        self.name = name
        self.key = session_key(token, name)
        self.peer = peer
        """The address that it began from."""
        self.probes: list[str] = []
        """What it has said that it does."""
        self.left_at_s: float | None = None
        """When its control connection ended, in real seconds; None while there is one."""
        self.wake: Callable[[], None] = lambda: None
        """Has the control connection, if there is one, send what there is to send."""
        self.may_hold = 0
        """How many connections it may have that are only held."""
        self._held: set[Stream] = set()
        self._clock = clock
        self._announced: dict[int, Script] = {}
        self._running: dict[int, Script] = {}
        self._done: dict[int, Script] = {}
        self._highest = 0
        self._bytes = 0

    @property
    def short_name(self) -> str:
        """For the operator."""
        return self.name.hex()[:4]

    @property
    def is_busy(self) -> bool:
        """Whether a connection of it is open."""
        return bool(self._running)

    def announce(self, number: int, steps: tuple[Step, ...]) -> None:
        """Have a connection with this number do these steps. A number that was announced before is left as it is.

        Raises:
            ProtocolError: it would be more than a session may have.
        """
        if number <= self._highest:
            return
        if len(self._announced) + len(self._running) + len(self._done) >= MAX_CONNECTIONS:
            raise ProtocolError(f"a session has at most {MAX_CONNECTIONS} connections at once")
        self._bytes += sum(step.count for step in steps if isinstance(step, Send))
        if self._bytes > MAX_SESSION_BYTES:
            raise ProtocolError(f"a session has at most {MAX_SESSION_BYTES >> 20} MiB sent to it")
        self._highest = number
        self._announced[number] = Script(steps, self._clock)

    def begin(self, number: int) -> Script | None:
        """The script of a connection that has come; None if there is none, or it has been used."""
        script = self._announced.pop(number, None)
        if script is not None:
            self._running[number] = script
        return script

    def has_begun(self, number: int) -> bool:
        """Whether the connection of this script has come, be it over or not."""
        return number in self._running or number in self._done

    def end(self, number: int) -> None:
        """A connection is over: its report can go."""
        self._done[number] = self._running.pop(number)
        self.wake()

    def forget(self, number: int) -> None:
        """The client wants no more of this script; where its connection is open, that ends, and the report comes."""
        self._announced.pop(number, None)
        if (script := self._running.get(number)) is not None:
            script.scope.cancel()

    def received(self, number: int) -> None:
        """The client has this report."""
        self._done.pop(number, None)

    def reports(self) -> dict[int, Script]:
        """What can go, and is not known to have arrived."""
        return dict(self._done)

    async def hold(self, stream: Stream) -> None:
        """Say by a byte that a connection has come, and keep it until its peer ends it; one too many is closed."""
        if len(self._held) >= self.may_hold:
            return
        self._held.add(stream)
        try:
            with suppress(Broken), anyio.move_on_after(KEEP_HELD_S):
                await stream.send(b".")
                while await stream.receive():
                    pass
        finally:
            self._held.discard(stream)

    def let_go(self) -> None:
        """Close the connections that are only held, and hold no more."""
        self.may_hold = 0
        for stream in self._held:
            stream.close()

    def stop(self) -> None:
        """End every connection of it."""
        self.let_go()
        for script in self._running.values():
            script.scope.cancel()
