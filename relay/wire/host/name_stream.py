"""DNS over TCP: the guest's connection, and one to a name server for what is not answered here.

The server is dialled at the first question for it. If it cannot be reached, or leaves before it has answered, the next
one is asked the same; when none is left, the answer is that the server failed.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

from relay.address import Endpoint
from relay.events import DialFailure, Side
from relay.legs import WOULD_BLOCK, Leg
from relay.loop.engine import Engine
from relay.net.dial import Dial
from relay.net.kernel_leg import KernelLeg
from relay.net.resolve import address_of
from relay.wire.dns.message import addresses_in, build_failure, is_reply, parse_query
from relay.wire.dns.stream import Messages, framed
from relay.wire.host.name_settings import NameSettings
from relay.wire.host.view import ShownStream, View
from relay.wire.mappings import End

IDLE_S = 30.0  # RFC 7766 section 6.2.3: seconds
MAX_PENDING = 100  # questions; the guest is read on when some are answered
_CONNECT_S = 5.0
_MOST_BYTES = 0xFFFF


class NameStream:
    """Serves one connection of the guest's until it ends."""

    def __init__(
        self,
        engine: Engine,
        leg: Leg,
        end: End,
        settings: NameSettings,
        view: View,
        ended: Callable[[NameStream], None],
    ) -> None:
        self._engine = engine
        self._guest = leg
        self._end = end
        self._settings = settings
        self._view = view
        self._ended = ended
        self._asked = Messages()
        self._answered = Messages()
        self._pending: list[bytes] = []
        self._guest_finished = False
        self._servers: list[Endpoint] = []
        self._dial: Dial | None = None
        self._server: KernelLeg | None = None
        self._shown: ShownStream | None = None
        self._closed = False
        self._timer = engine.call_later(IDLE_S, self.close)
        leg.owner = self
        engine.call_soon(lambda: self.on_leg_ready(leg))

    def close(self) -> None:
        """End it now; harmless when repeated."""
        if self._closed:
            return
        self._closed = True
        self._timer.cancel()
        self._hang_up()
        if not self._guest.closed:
            self._guest.close()
        self._ended(self)

    def on_leg_ready(self, leg: Any) -> None:
        if self._closed:
            return
        if leg is self._guest:
            self._read_guest()
        elif leg is self._server:
            self._read_server()
        self._go_on()

    def _go_on(self) -> None:
        """Finish once everything is answered."""
        if self._guest.broken:
            self.close()
        elif self._guest_finished and not self._pending and not self._closed:
            self._guest.finish()
            if self._guest.closed:
                self.close()  # else the leg still has something to send, and ends by itself or with the idle time

    def _read_guest(self) -> None:
        guest = self._guest
        self._take_questions()
        while guest.readable and not self._guest_finished and len(self._pending) < MAX_PENDING:
            count = guest.receive_into(self._engine.buffer)
            if count > 0:
                self._rest()
                self._asked.receive_data(self._engine.buffer[:count])
                self._take_questions()
            elif count == 0:
                self._guest_finished = True
            elif count == WOULD_BLOCK:
                return
            else:
                self.close()
                return

    def _take_questions(self) -> None:
        while len(self._pending) < MAX_PENDING and (message := self._asked.next_message()) is not None:
            query = parse_query(message)
            if query is None:
                continue
            if (reply := self._settings.reply(query, message, _MOST_BYTES)) is not None:
                self._answer(reply)
            else:
                self._ask(message)

    def _ask(self, message: bytes) -> None:
        self._pending.append(message)
        if self._server is not None:
            self._send(message)
        elif self._dial is None:
            self._servers = list(self._settings.servers())
            self._try_next()

    def _try_next(self) -> None:
        self._hang_up()
        if not self._servers:
            for message in self._pending:
                self._guest.write(framed(build_failure(message)))
            self._pending.clear()
            return
        server = self._servers.pop(0)
        self._dial = Dial(
            self._engine,
            [address_of(server.host, server.port)],
            timeout_s=_CONNECT_S,
            source=None,
            connected=self._on_connected,
            failed=self._on_failed,
        )

    def _on_connected(self, sock: socket.socket, address: Endpoint) -> None:
        self._dial = None
        try:
            self._server = KernelLeg(self._engine, sock, Side.EXTERNAL, self)
        except OSError:
            self._try_next()
            self._go_on()
            return
        self._shown = self._view.open_stream(self._end, sock, address)
        for message in self._pending:
            self._send(message)

    def _send(self, message: bytes) -> None:
        assert self._server is not None, "only once it is there"  # noqa: S101
        self._server.write(framed(message))
        if self._shown is not None:
            self._shown.carry(framed(message), True)

    def _on_failed(self, failure: DialFailure) -> None:
        self._dial = None
        self._try_next()
        self._go_on()

    def _read_server(self) -> None:
        server = self._server
        while server is not None and server.readable:
            count = server.receive_into(self._engine.buffer)
            if count > 0:
                self._rest()
                if self._shown is not None:
                    self._shown.carry(self._engine.buffer[:count], False)
                self._answered.receive_data(self._engine.buffer[:count])
                self._take_answers()
            elif count == WOULD_BLOCK:
                break
            else:  # it has finished, or broken
                if self._shown is not None and count == 0:
                    self._shown.finish(False)
                self._on_server_gone()
                break
        self._read_guest()

    def _take_answers(self) -> None:
        while (message := self._answered.next_message()) is not None:
            question = next((each for each in self._pending if is_reply(message, each)), None)
            if question is None:
                continue
            self._pending.remove(question)
            self._answer(message)

    def _answer(self, message: bytes) -> None:
        for address, name in addresses_in(message):
            self._view.name(address, name)
        self._guest.write(framed(message))

    def _on_server_gone(self) -> None:
        self._hang_up()
        if self._pending:
            self._try_next()

    def _hang_up(self) -> None:
        if self._dial is not None:
            self._dial.abandon()
            self._dial = None
        if self._server is not None:
            self._server.close()
            self._server = None
        if self._shown is not None:
            self._shown.finish(True)
            self._shown = None
        self._answered = Messages()

    def _rest(self) -> None:
        """Something has come: the idle time begins again."""
        self._timer.cancel()
        self._timer = self._engine.call_later(IDLE_S, self.close)
