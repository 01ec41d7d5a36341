"""DNS messages over TCP: each behind its length in two bytes (RFC 1035 section 4.2.2)."""

from __future__ import annotations

from relay.wire.dns.message import Buffer

_LENGTH_BYTES = 2


def framed(message: Buffer) -> bytes:
    """A message as it is sent over TCP."""
    return len(message).to_bytes(_LENGTH_BYTES) + message


class Messages:
    """The messages of one direction, put together from what arrives."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def receive_data(self, data: Buffer) -> None:
        """Take in what has arrived."""
        self._buffer += data

    def next_message(self) -> bytes | None:
        """The next whole message; None until there is one."""
        if len(self._buffer) < _LENGTH_BYTES:
            return None
        end = _LENGTH_BYTES + int.from_bytes(self._buffer[:_LENGTH_BYTES])
        if len(self._buffer) < end:
            return None
        message = bytes(self._buffer[_LENGTH_BYTES:end])
        del self._buffer[:end]
        return message
