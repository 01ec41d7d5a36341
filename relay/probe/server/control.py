"""A control connection, at the server: the handshake, then requests that are answered and reports that go out.

Each request is answered once, by its `id`: {"id": 7, "done": true, ...}, or {"id": 7, "error": "..."}. One that breaks
the protocol is answered by {"error": "..."}, and the connection is closed; its session stays.
"""

from __future__ import annotations

import platform
import secrets
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import anyio

from relay.clock import real_s
from relay.errors import ProtocolError
from relay.probe.protocol import fields
from relay.probe.protocol.lines import LineReader, as_line
from relay.probe.protocol.proof import (
    MAX_NUMBER,
    NONCE_BYTES,
    PROOF_BYTES,
    SESSION_BYTES,
    VERSION,
    client_proof,
    is_proof,
    server_proof,
)
from relay.probe.protocol.steps import MAX_WAIT_S, read_steps
from relay.probe.server.limits import INTRODUCTION_S, MAX_HELD
from relay.probe.server.other_port import STATES
from relay.probe.server.session import Session
from relay.probe.stream import Broken, Stream

if TYPE_CHECKING:
    from relay.probe.server.serve import ProbeServer

_SILENT_S = 600.0  # real; a client pings far more often
_MAX_ID = 1 << 53


class _Left(Exception):
    """The client is gone, or may not go on."""


class ControlConnection:
    """One control connection."""

    def __init__(self, server: ProbeServer, stream: Stream, peer: str) -> None:
        self._server = server
        self._stream = stream
        self._peer = peer
        self._lines = LineReader()
        self._work = anyio.Event()
        self._sending = anyio.Lock()
        self._sent: set[int] = set()

    async def serve(self, early_data: bytes) -> None:
        """Serve until the client leaves."""
        self._lines.receive_data(early_data)
        session: Session | None = None
        try:
            with anyio.move_on_after(INTRODUCTION_S):
                session = await self._shake_hands()
            if session is not None:
                await self._serve(session)
        except ProtocolError as error:
            await self._try_to_send({"error": str(error)})
        except (_Left, Broken):
            pass
        finally:
            if session is not None and session.wake == self._wake:
                session.wake = lambda: None
                session.left_at_s = real_s()

    async def _shake_hands(self) -> Session | None:
        hello = await self._next()
        if fields.whole(hello.get("relay-probe"), "relay-probe", 0, _MAX_ID) != VERSION:
            raise ProtocolError(f"version: this server speaks version {VERSION}")
        theirs, ours = fields.octets(hello, "nonce", NONCE_BYTES), secrets.token_bytes(NONCE_BYTES)
        await self._send({"relay-probe": VERSION, "nonce": ours.hex()})
        shown = await self._next()
        token = self._server.token
        if not is_proof(fields.octets(shown, "proof", PROOF_BYTES), client_proof(token, ours, theirs)):
            self._server.tell(f"{self._peer} was turned away: another token")
            raise ProtocolError("token: this server has another token")
        wanted = fields.octets(shown, "session", SESSION_BYTES) if "session" in shown else None
        session = self._server.session(wanted, self._peer)
        session.wake()  # a former control connection, which has not noticed that it is dead, sends no more
        session.wake, session.left_at_s = self._wake, None
        await self._send(
            {
                "proof": server_proof(token, ours, theirs).hex(),
                "session": session.name.hex(),
                "port": self._server.address.port,
                "other": self._server.other.address.port,
                "system": _system(),
            }
        )
        return session

    async def _serve(self, session: Session) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._send_reports, session, tasks.cancel_scope.cancel)
            over: Exception | None = None
            try:
                await self._answer_all(session)
            except (ProtocolError, _Left, Broken) as error:  # as itself, not as one of a group
                over = error
            tasks.cancel_scope.cancel()
        if over is not None:
            raise over

    async def _answer_all(self, session: Session) -> None:
        while session.wake == self._wake:
            with anyio.move_on_after(_SILENT_S):
                request = await self._next()
                number = fields.whole(request.get("id"), "id", 0, _MAX_ID)
                try:
                    answer = await self._answer(session, request)
                except ProtocolError as error:
                    answer = {"error": str(error)}
                await self._send({"id": number, **answer})
                continue
            return

    async def _answer(self, session: Session, request: Mapping[str, Any]) -> dict[str, object]:
        match request.get("do"):
            case "ping":
                return {"done": True, "at_s": self._server.clock.now_s()}
            case "script":
                session.announce(_number(request), read_steps(request.get("steps")))
            case "received":
                session.received(_number(request))
            case "begun":
                return {"done": True, "begun": session.has_begun(_number(request))}
            case "forget":
                session.forget(_number(request))
            case "other":
                state = fields.text(request, "as")
                if state not in STATES:
                    raise ProtocolError(f"the other port is one of {', '.join(STATES)}")
                for_s = fields.number(request.get("for_s"), "for_s", 0, MAX_WAIT_S)
                if error := await self._server.other.become(state, session, for_s):
                    raise ProtocolError(error)
            case "hold":
                if most := fields.whole(request.get("most"), "most", 0, MAX_HELD):
                    session.may_hold = most
                else:
                    session.let_go()
            case "arrivals":
                return {"done": True, "arrivals": self._server.other.arrivals}
            case "probing":
                name = fields.text(request, "name", at_most=40)
                session.probes.append(name)
                self._server.tell(f"session {session.short_name} of {self._peer}: {name}")
            case _:
                raise ProtocolError("there is no such request")
        return {"done": True}

    async def _send_reports(self, session: Session, give_up: Callable[[], None]) -> None:
        try:
            while session.wake == self._wake:
                self._work = anyio.Event()
                for number, script in session.reports().items():
                    if number not in self._sent:
                        self._sent.add(number)
                        saw = script.report.as_values()
                        await self._send({"report": number, "began_s": script.began_s, "saw": saw})
                await self._work.wait()
        except Broken:
            pass
        finally:
            give_up()

    def _wake(self) -> None:
        self._work.set()

    async def _next(self) -> dict[str, Any]:
        while (message := self._lines.next_event()) is None:
            data = await self._stream.receive()
            if not data:
                raise _Left
            self._lines.receive_data(data)
        return message

    async def _send(self, message: Mapping[str, object]) -> None:
        async with self._sending:
            await self._stream.send(as_line(message))

    async def _try_to_send(self, message: Mapping[str, object]) -> None:
        with anyio.move_on_after(1.0):
            with suppress(Broken):
                await self._send(message)


def _number(request: Mapping[str, Any]) -> int:
    return fields.whole(request.get("number"), "number", 1, MAX_NUMBER)


def _system() -> str:
    return f"{platform.system()} {platform.release()}" if sys.platform != "win32" else platform.platform()
