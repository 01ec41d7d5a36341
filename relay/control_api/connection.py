"""One client's connection: requests are read and answered in turn, with limits on what a client sends and on its pace.

    read head -> Guard -> read body -> answer -> the next, until one side closes

The socket is non-blocking and our own, as in all of the relay; anyio alone says when it is ready.
"""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Protocol

import anyio
import h11

from relay.control_api.exchange import Answer, Headers, Refused, Request, as_error
from relay.server.started import Limited

HEAD_BYTES = 16 << 10
_TARGET_BYTES = 4096
BODY_BYTES = 1 << 20
"""How much a request may carry."""
IDLE_S = 120.0
"""How long a client may take between two requests, or over one."""
_SEND_WITHIN_S = 10.0  # a client that takes nothing of its answer for this long is gone
_LINGER_S = 1.0  # how long what a client goes on sending is read after a refusal: closing would reset it, unread
_READ_BYTES = 64 << 10
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Answers(Protocol):
    """What a connection's requests are answered by."""

    def check(self, request: Request) -> None:
        """Let a request pass before its body is read.

        Raises:
            Refused: it may not.
        """

    async def answer(self, request: Request) -> Answer:
        """Carry out a request.

        Raises:
            Refused: it cannot be carried out.
        """


class _Gone(Exception):
    """The client has closed."""


class Connection:
    """A connection to one client; it owns the socket."""

    def __init__(self, sock: socket.socket, answers: Answers, limited: Limited) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._answers = answers
        self._limited = limited
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_BYTES)

    async def serve(self) -> None:
        """Answer until the connection is over, and close it."""
        try:
            with suppress(_Gone, OSError):
                while await self._serve_one():
                    self._http.start_next_cycle()
                await self._linger()
        finally:
            self._sock.close()

    async def _serve_one(self) -> bool:
        """Answer one request; returns whether another may follow."""
        http = self._http
        try:
            request = None
            with self._limited(IDLE_S):
                request = await self._read()
            if request is None:  # gone, or too slow
                return False
            await self._send_answer(await self._answers.answer(request), request.method)
        except Refused as refused:
            await self._send_answer(as_error(refused), "")
        except h11.RemoteProtocolError as error:
            if http.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
                await self._send_answer(as_error(Refused(error.error_status_hint, f"no HTTP: {error}")), "")
            return False
        return http.our_state is h11.DONE and http.their_state is h11.DONE

    async def _read(self) -> Request | None:
        head = await self._next_event()
        if not isinstance(head, h11.Request):
            return None
        request = Request(
            head.method.decode("ascii"),
            head.target.decode("latin-1"),
            {name.decode("ascii").lower(): value.decode("latin-1") for name, value in head.headers},
        )
        if len(request.target) > _TARGET_BYTES:
            raise Refused(414, f"the path is longer than {_TARGET_BYTES} bytes")
        self._answers.check(request)
        length = request.header("content-length")
        if length.isdigit() and int(length) > BODY_BYTES:
            raise _too_large()
        if self._http.they_are_waiting_for_100_continue:
            await self._send(self._http.send(h11.InformationalResponse(status_code=100, headers=[])) or b"")
        body = bytearray()
        while not isinstance(event := await self._next_event(), h11.EndOfMessage):
            assert isinstance(event, h11.Data)  # noqa: S101
            body += event.data
            if len(body) > BODY_BYTES:
                raise _too_large()
        return Request(request.method, request.target, request.headers, bytes(body))

    async def _next_event(self) -> h11.Event | type[h11.PAUSED]:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            self._http.receive_data(await self._receive())
        return event  # type: ignore[return-value] # of the two signs of no event this is PAUSED, which `_read` ends at

    async def _send_answer(self, answer: Answer, method: str) -> None:
        http, body = self._http, answer.body
        headers: dict[str, str] = {**_HEADERS, "Content-Type": answer.content_type, **answer.headers}
        if isinstance(body, bytes):
            headers["Content-Length"] = str(len(body))
        if answer.status == 204:
            del headers["Content-Type"], headers["Content-Length"]
        if http.their_state not in {h11.DONE, h11.MUST_CLOSE}:
            headers["Connection"] = "close"  # what is left of its body is not read
        sent = http.send(h11.Response(status_code=answer.status, headers=_encoded(headers))) or b""
        if isinstance(body, bytes):
            await self._send_in_time(sent + (b"" if method == "HEAD" else self._data(body)) + self._end())
            return
        await self._send_in_time(sent)
        with anyio.CancelScope() as scope:
            if answer.cut_off_by is not None:
                answer.cut_off_by(scope.cancel)
            try:
                async for piece in body:
                    await self._send(self._data(piece))
            finally:
                await _close(body)
            await self._send_in_time(self._end())
            return
        raise _Gone

    def _data(self, data: bytes) -> bytes:
        return self._http.send(h11.Data(data=data)) or b"" if data else b""

    def _end(self) -> bytes:
        return self._http.send(h11.EndOfMessage()) or b""

    async def _send_in_time(self, data: bytes) -> None:
        with self._limited(_SEND_WITHIN_S):
            await self._send(data)
            return
        raise _Gone

    async def _receive(self) -> bytes:
        while True:
            try:
                return self._sock.recv(_READ_BYTES)
            except (BlockingIOError, InterruptedError):
                await anyio.wait_readable(self._sock)

    async def _send(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            try:
                view = view[self._sock.send(view) :]
            except (BlockingIOError, InterruptedError):
                await anyio.wait_writable(self._sock)

    async def _linger(self) -> None:
        self._sock.shutdown(socket.SHUT_WR)
        with self._limited(_LINGER_S):
            while await self._receive():
                pass


def _too_large() -> Refused:
    return Refused(413, f"the body is larger than {BODY_BYTES} bytes")


def _encoded(headers: Headers) -> list[tuple[bytes, bytes]]:
    return [(name.encode("ascii"), value.encode("latin-1")) for name, value in headers.items()]


async def _close(body: AsyncIterator[bytes]) -> None:
    close: Callable[[], Awaitable[None]] | None = getattr(body, "aclose", None)
    if close is not None:
        with anyio.CancelScope(shield=True):
            await close()
