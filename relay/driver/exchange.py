"""A plain-http flow's two pumps, with the codec that rewrites what passes between them.

The codec knows where a message ends, so here a FIN is not simply carried over:

* the client's FIN goes to the origin when the last request has been passed on;
* the origin's FIN goes to the client only if the codec says that the client has had its all: else the client may ask
  for more, and another connection will serve it.
"""

from __future__ import annotations

from relay.net.leg import Leg
from relay.net.pump import Outcome, Pump
from relay.protocols import HttpExchange


class ExchangePumps:
    """Runs the pumps between one client and one origin."""

    __slots__ = ("_client_ended", "_codec", "_origin_ended", "_was_paused", "from_client", "from_origin")

    def __init__(self, buffer: memoryview, client: Leg, origin: Leg, codec: HttpExchange) -> None:
        self._codec = codec
        self.from_client = Pump(buffer, client, origin, codec.from_client)
        self.from_origin = Pump(buffer, origin, client, codec.from_origin)
        self._client_ended = False
        self._origin_ended = False
        self._was_paused = False
        origin.write(codec.start())

    @property
    def wants_another_origin(self) -> bool:
        """Whether the client's next request has to go elsewhere, or over a new connection."""
        return self._codec.next_destination is not None

    @property
    def lets_client_go_on(self) -> bool:
        """Whether the client's pump had stopped for the response, and need not any more."""
        return self._client_ended and self._codec.origin_done or self._was_paused and not self._codec.paused

    def run(self, pump: Pump) -> Outcome:
        """Run one of the two.

        Raises:
            ProtocolError: what passed is not HTTP; the client is owed its reply.
        """
        return self._run_from_client() if pump is self.from_client else self._run_from_origin()

    def _run_from_client(self) -> Outcome:
        self._was_paused = self._codec.paused
        if self._was_paused:
            return Outcome.WAITING
        outcome = self.from_client.run()
        if outcome is not Outcome.FINISHED:
            return outcome
        if not self._client_ended:
            self._client_ended = True
            self._write_to(self.from_client, self._codec.client_eof())
        return Outcome.FINISHED if self._codec.origin_done else Outcome.WAITING

    def _run_from_origin(self) -> Outcome:
        moved_bytes = self.from_origin.moved_bytes
        outcome = self.from_origin.run()
        if outcome is Outcome.FINISHED and not self._origin_ended:
            self._origin_ended = True
            self._write_to(self.from_origin, self._codec.origin_eof())
        if self._origin_ended or self.from_origin.moved_bytes > moved_bytes:
            # A pipelined request has waited for the response that may just have ended.
            self._write_to(self.from_client, self._codec.from_client(b""))
        if outcome is Outcome.BROKEN:
            return outcome
        if self._codec.wants_close or (self._origin_ended and self._client_ended):
            return Outcome.FINISHED
        return Outcome.WAITING if self._origin_ended else outcome

    def _write_to(self, pump: Pump, data: bytes) -> None:
        if data and pump.sink is not None:
            pump.sink.write(data)
