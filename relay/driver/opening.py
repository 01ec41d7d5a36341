"""What an opener sends before its connection exists: first its request, then whatever it is in a hurry to say."""

from __future__ import annotations

from relay.errors import ProtocolError
from relay.frontends import Conversation
from relay.legs import BROKEN, Leg

EARLY_BYTES = 64 * 1024
"""How much is kept for the destination while it is dialled; then the opener's window closes."""


class Opening:
    """Reads from an opener's leg on behalf of its conversation."""

    __slots__ = ("_buffer", "_conversation", "_leg", "early")

    def __init__(self, buffer: memoryview, leg: Leg, conversation: Conversation) -> None:
        self._buffer = buffer
        self._leg = leg
        self._conversation = conversation
        self.early = bytearray()
        """What is for the destination."""

    def talk(self) -> str | None:
        """Let the conversation go on, until it has its request; returns why it never will, if so."""
        leg, conversation = self._leg, self._conversation
        while leg.readable and not leg.frozen and conversation.request is None:
            count = leg.receive_into(self._buffer)
            if count > 0:
                try:
                    leg.write(conversation.receive_data(bytes(self._buffer[:count])))
                except ProtocolError as error:
                    leg.write(error.reply)
                    return str(error)
            elif count == 0:
                return "it closed the connection"
            elif count == BROKEN:
                return "it reset the connection"
        return None

    def keep_early_data(self) -> bool:
        """Take in what comes while the destination is dialled; False if the opener has reset."""
        leg = self._leg
        while leg.readable and not leg.frozen and len(self.early) < EARLY_BYTES:
            count = leg.receive_into(self._buffer[: EARLY_BYTES - len(self.early)])
            if count > 0:
                self.early += self._buffer[:count]
            elif count == BROKEN:
                return False
            elif count == 0:
                # A FIN is the end of what the opener says; the pump's first read meets it again. A RST behind it is
                # the opener's own end, and no read tells of it.
                return not leg.find_broken()
        return True
