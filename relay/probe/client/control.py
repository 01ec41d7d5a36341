"""The client's end of the control connection: it may die, and comes back by the session's name.

What was asked and not answered is asked again then, and reports that waited at the server come. So a probe goes on over
a limit that ends the control connection itself; what it measures is on other connections.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import anyio

from relay.clock import real_s
from relay.errors import ConfigError, ProtocolError, RelayError
from relay.probe.client.dial import Failure
from relay.probe.clock import ProbeClock
from relay.probe.protocol import fields
from relay.probe.protocol.lines import LineReader, as_line
from relay.probe.protocol.proof import (
    NONCE_BYTES,
    PROOF_BYTES,
    SESSION_BYTES,
    VERSION,
    client_proof,
    is_proof,
    make_head,
    server_proof,
    session_key,
)
from relay.probe.protocol.report import Report, read_report
from relay.probe.stream import Broken, Stream

PING_S = 20.0
"""Of the NAT's clock."""
_ANSWER_S = 10.0  # real
_STEADY_S = 1.0  # real; clocks of two hosts drift a thousandth of that apart between two pings
_GIVE_UP_S = 600.0  # real; a server that is not back by then does not come back
_RETRY_S = (0.1, 0.5, 1.0, 2.0, 5.0)  # real
_MAX_PORT = 0xFFFF
_NO_SERVER = "start one there: relay probe server"

Dial = Callable[[], Awaitable[Stream | Failure]]


class ServerLost(RelayError):
    """The probe server is gone, or knows this session no more; what was found so far is found."""


@dataclass
class _Asked:
    line: bytes
    answered: anyio.Event = field(default_factory=anyio.Event)
    answer: Mapping[str, Any] = field(default_factory=dict)


class Control:
    """A session at a probe server; made by `open_control`."""

    def __init__(self, dial: Dial, token: bytes, clock: ProbeClock, server: str) -> None:
        self.session = b""
        self.port = self.other_port = 0
        """The server's ports, by its own account."""
        self.system = ""
        """What it runs on."""
        self.round_trip_s = math.inf
        """The shortest so far, in real seconds."""
        self.reconnected = 0
        """How often the control connection has died, and was made anew."""
        self.jumped_s = 0.0
        """By how much, at most, the two ends' clocks have jumped apart since this was set to 0, by the NAT's clock."""
        self._dial = dial
        self._token = token
        self._clock = clock
        self._server = server
        self._stream: Stream | None = None
        self._lines = LineReader()
        self._asked: dict[int, _Asked] = {}
        self._last_id = 0
        self._last_number = 0
        self._reports: dict[int, Report] = {}
        self._arrived = anyio.Event()
        self._offset_s = 0.0
        self._last_seen_s: tuple[float, float] | None = None
        self._sending = anyio.Lock()
        self._at_end: list[Callable[[], None]] = []

    def at_end(self, call: Callable[[], None]) -> None:
        """Have this called when the session is over, however it ends."""
        self._at_end.append(call)

    def close(self) -> None:
        """Leave."""
        for call in self._at_end:
            call()
        if self._stream is not None:
            self._stream.close()

    async def connect(self) -> None:
        """Begin the session.

        Raises:
            ConfigError: there is no server, or it does not take this client.
        """
        stream = await self._dial()
        if isinstance(stream, Failure):
            told = "there is no answer" if stream.how == "silence" else stream.how
            raise ConfigError(f"cannot reach the probe server at {self._server}: {told}", hint=_NO_SERVER)
        try:
            await self._shake_hands(stream)
        except BaseException:
            stream.close()
            raise
        self._stream = stream

    async def run(self) -> None:
        """Read what the server says, and come back to it whenever the connection is over.

        Raises:
            ServerLost: it cannot be reached any more.
        """
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._ping)
            while True:
                assert self._stream is not None  # noqa: S101 - connected before
                with suppress(Broken, ProtocolError):
                    await self._read(self._stream)
                self._stream.close()
                await self._come_back()

    def new_number(self) -> int:
        """The number of the next script."""
        self._last_number += 1
        return self._last_number

    def head(self, number: int) -> bytes:
        """The first bytes of the connection that is to do this script."""
        return make_head(self.key, self.session, number)

    @property
    def key(self) -> bytes:
        """What proves that something is this session's."""
        return session_key(self._token, self.session)

    async def ask(self, do: str, **request: object) -> Mapping[str, Any]:
        """Ask the server something, and wait for the answer, over as many connections as that takes.

        Raises:
            RelayError: it refuses.
        """
        self._last_id = number = self._last_id + 1
        asked = self._asked[number] = _Asked(as_line({"id": number, "do": do, **request}))
        try:
            await self._send(asked.line)
            await asked.answered.wait()
        finally:
            self._asked.pop(number, None)
        if "error" in asked.answer:
            raise RelayError(f"the probe server refuses: {_words(asked.answer['error'])}")
        return asked.answer

    async def report(self, number: int) -> Report:
        """What the server saw on the connection of this script, once that is over. Times are of this end's clock."""
        while number not in self._reports:
            arrived = self._arrived
            await arrived.wait()
        await self.ask("received", number=number)
        return self._reports.pop(number)

    async def _read(self, stream: Stream) -> None:
        while True:
            while (message := self._lines.next_event()) is not None:
                self._take(message)
            data = await stream.receive()
            if not data:
                return
            self._lines.receive_data(data)

    def _take(self, message: Mapping[str, Any]) -> None:
        if "report" in message:
            report = read_report(message.get("saw"), self._clock.scale)
            began_s = fields.number(message.get("began_s"), "began_s", 0, 1e12)
            report.began_s = began_s * self._clock.scale + self._offset_s
            self._reports[fields.whole(message["report"], "report", 1, 1 << 32)] = report
            self._arrived.set()
            self._arrived = anyio.Event()
        elif (asked := self._asked.get(message.get("id", 0))) is not None:
            asked.answer = message
            asked.answered.set()

    async def _send(self, line: bytes) -> None:
        if self._stream is not None:
            async with self._sending:
                with suppress(Broken, anyio.ClosedResourceError):  # it is sent again over the next connection
                    await self._stream.send(line)

    async def _ping(self) -> None:
        while True:
            await self.look_at_clock()
            await anyio.sleep(PING_S / self._clock.scale)

    async def look_at_clock(self) -> None:
        """Ask for the server's time; one that does not answer has the connection made anew."""
        asked_s = self._clock.now_s()
        with anyio.move_on_after(_ANSWER_S):
            answer = await self.ask("ping")
            took_s = self._clock.now_s() - asked_s
            theirs_s = fields.number(answer.get("at_s"), "at_s", 0, 1e12) * self._clock.scale
            self._compare_clocks(asked_s + took_s / 2 - theirs_s, took_s)
            return
        if self._stream is not None:
            self._stream.reset()

    def _compare_clocks(self, offset_s: float, took_s: float) -> None:
        """Take in how far apart the two ends' clocks are, known to half of the time that it took."""
        before_s, half_s = self._last_seen_s or (offset_s, 0.0)
        self._last_seen_s = offset_s, took_s / 2
        jump_s = abs(offset_s - before_s)
        if jump_s > half_s + took_s / 2 + _STEADY_S * self._clock.scale:
            self.jumped_s = max(self.jumped_s, jump_s)
            self.round_trip_s = math.inf  # the best comparison of the clocks so far was made before the jump
        if took_s / self._clock.scale < self.round_trip_s:
            self.round_trip_s = took_s / self._clock.scale
            self._offset_s = offset_s

    async def _come_back(self) -> None:
        given_up_s = real_s() + _GIVE_UP_S
        for delay_s in (*_RETRY_S, *[_RETRY_S[-1]] * int(_GIVE_UP_S)):
            stream = await self._dial()
            if isinstance(stream, Stream):
                try:
                    with anyio.fail_after(_ANSWER_S):
                        await self._shake_hands(stream)
                    self._stream = stream
                    self.reconnected += 1
                    for asked in list(self._asked.values()):
                        await self._send(asked.line)
                    return
                except (Broken, TimeoutError):
                    stream.close()
                except ConfigError as error:
                    stream.close()
                    raise ServerLost(str(error), hint=error.hint) from None
            if real_s() > given_up_s:
                break
            await anyio.sleep(delay_s)
        raise ServerLost(
            f"the probe server at {self._server} has been out of reach for {_GIVE_UP_S / 60:g} minutes",
            hint="what was found until then is kept; start the server again for the rest",
        )

    async def _shake_hands(self, stream: Stream) -> None:
        """Prove to each other that both have the token.

        Raises:
            ConfigError: this is no probe server, or it does not take this client.
            Broken: the connection is over.
        """
        self._lines = LineReader()
        ours = secrets.token_bytes(NONCE_BYTES)
        try:
            with self._clock.limit_really(_ANSWER_S):
                await stream.send(as_line({"relay-probe": VERSION, "nonce": ours.hex()}))
                hello = await self._next(stream)
                theirs = fields.octets(hello, "nonce", NONCE_BYTES)
                shown: dict[str, object] = {"proof": client_proof(self._token, theirs, ours).hex()}
                await stream.send(as_line(shown | ({"session": self.session.hex()} if self.session else {})))
                welcome = await self._next(stream)
                proof = fields.octets(welcome, "proof", PROOF_BYTES)
                if not is_proof(proof, server_proof(self._token, theirs, ours)):
                    raise ConfigError(
                        f"{self._server}: it cannot prove that it has the token", hint="it may be another's server"
                    )
                self.session = fields.octets(welcome, "session", SESSION_BYTES)
                self.port = fields.whole(welcome.get("port"), "port", 1, _MAX_PORT)
                self.other_port = fields.whole(welcome.get("other"), "other", 1, _MAX_PORT)
                self.system = fields.text(welcome, "system")
                return
        except ProtocolError:
            pass
        raise ConfigError(f"{self._server} does not answer as a probe server does", hint=_NO_SERVER)

    async def _next(self, stream: Stream) -> Mapping[str, Any]:
        while (message := self._lines.next_event()) is None:
            data = await stream.receive()
            if not data:
                raise ProtocolError("it has left")
            self._lines.receive_data(data)
        if "error" in message:
            raise _refused(_words(message["error"]), self._server)
        return message


def _words(error: object) -> str:
    return str(error)[:200]


def _refused(error: str, server: str) -> ConfigError:
    match error.partition(":")[0]:
        case "token":
            what = f"{server}: the server has another token"
            return ConfigError(what, hint="give the server's: --token-file FILE, or RELAY_PROBE_TOKEN")
        case "version":
            what = f"{server}: {error.partition(': ')[2]}, and this client version {VERSION}"
            return ConfigError(what, hint="install the same version of vmnat-relay at both ends")
        case "busy":
            return ConfigError(f"{server}: {error.partition(': ')[2]}", hint="try again when one of them is over")
        case "session":
            what = f"{server}: {error.partition(': ')[2]}"
            return ConfigError(what, hint="it was started anew; what was found until then is kept: run the rest again")
        case _:
            return ConfigError(f"{server}: {error}", hint="start both ends again")


@asynccontextmanager
async def open_control(dial: Dial, token: bytes, clock: ProbeClock, server: str) -> AsyncIterator[Control]:
    """Begin a session, and keep it for as long as the block lasts.

    Raises:
        ConfigError: there is no server, or it does not take this client.
        ServerLost: it could not be reached any more, while the block lasted.
    """
    control = Control(dial, token, clock, server)
    await control.connect()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(control.run)
        try:
            yield control
        finally:
            tasks.cancel_scope.cancel()
            control.close()
