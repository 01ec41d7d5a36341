"""The proxy port: SOCKS4, SOCKS4a, SOCKS5 and HTTP, told apart by the first byte."""

from __future__ import annotations

from relay.address import Endpoint
from relay.errors import ProtocolError
from relay.events import DialFailure, Side
from relay.protocols import (
    NEED_DATA,
    Associate,
    Bind,
    Connect,
    Credentials,
    Handshake,
    HttpExchange,
    Question,
    Resolve,
    Send,
    open_handshake,
)

_NOWHERE = Endpoint("0.0.0.0", 0)


class ProxyConversation:
    """A connection to the proxy port; see `Conversation`."""

    __slots__ = ("_credentials", "_handshake", "forward", "question", "request")

    initiator = Side.INTERNAL

    def __init__(self, credentials: Credentials | None, forward: Endpoint | None = None) -> None:
        self._credentials = credentials
        self.forward = forward
        self._handshake: Handshake | None = None
        self.request: Endpoint | None = None
        self.question: Question | None = None

    @property
    def via(self) -> str:
        return self._handshake.name if self._handshake is not None else "proxy"

    @property
    def early_data(self) -> bytes:
        return self._known.trailing_data

    @property
    def codec(self) -> HttpExchange | None:
        return self._known.codec

    def receive_data(self, data: bytes) -> bytes:
        if self._handshake is None:
            self._handshake = open_handshake(data, self._credentials)
        else:
            self._handshake.receive_data(data)
        answer = b""
        try:
            while (event := self._handshake.next_event()) is not NEED_DATA:
                match event:
                    case Send(data=reply):
                        answer += reply
                    case Connect(destination=destination):
                        self.request = destination
                        break
                    case Resolve(host=host) as question:
                        self.request, self.question = Endpoint(host, 0), question
                        break
                    case Associate() as question:
                        self.request, self.question = _NOWHERE, question
                        break
                    case Bind(peer=peer) as question:
                        self.request, self.question = peer, question
                        break
        except ProtocolError as error:
            # What came before the fault, which may be in the same segment, gets its answer as well.
            raise ProtocolError(str(error), reply=answer + error.reply) from None
        return answer

    def grant(self, bound: Endpoint | None) -> bytes:
        return self._known.grant(bound)

    def refuse(self, failure: DialFailure) -> bytes | None:
        return self._known.refuse(failure)

    def forget_words(self) -> None:
        self._handshake = None

    def redirect(self) -> None:
        codec = self.codec
        if codec is not None:
            self.request = codec.next_destination

    @property
    def _known(self) -> Handshake:
        assert self._handshake is not None, "asked before the first byte"  # noqa: S101
        return self._handshake
