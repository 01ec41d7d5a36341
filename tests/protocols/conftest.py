"""One conversation with the proxy port, as it goes however the client's bytes happen to be cut."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import pytest

from relay.errors import ProtocolError
from relay.protocols import NEED_DATA, Associate, Bind, Connect, Credentials, Resolve, Send, open_handshake


class Outcome(NamedTuple):
    """What came of a conversation."""

    sent: bytes
    destination: str
    name: str
    trailing: bytes
    reply: bytes | None
    """What a ProtocolError carried; None if there was none."""


def _converse(chunks: Iterable[bytes], credentials: Credentials | None = None) -> Outcome:
    rest = iter(chunks)
    handshake, sent, destination = None, b"", ""
    try:
        for chunk in rest:
            if handshake is None:
                handshake = open_handshake(chunk, credentials)
            else:
                handshake.receive_data(chunk)
            while (event := handshake.next_event()) is not NEED_DATA:
                assert not destination, "nothing comes after Connect"
                match event:
                    case Send(data):
                        sent += data
                    case Connect(where):
                        destination = str(where)
                    case Resolve(host, reverse):
                        destination = f"{'name' if reverse else 'address'} of {host}"
                    case Associate(port):
                        destination = f"datagrams from port {port}"
                    case Bind(peer, others_end_it):
                        destination = f"from {peer}{' or the end' if others_end_it else ''}"
    except ProtocolError as error:
        return Outcome(sent, destination, "" if handshake is None else handshake.name, b"", error.reply)
    assert handshake is not None
    return Outcome(sent, destination, handshake.name, handshake.trailing_data, None)


def _cuts(data: bytes) -> Iterator[list[bytes]]:
    yield [bytes((byte,)) for byte in data]
    for at in range(1, len(data)):
        yield [data[:at], data[at:]]


@pytest.fixture(scope="session")
def converse() -> Callable[..., Outcome]:
    """Feed these chunks; the outcome."""
    return _converse


@pytest.fixture(scope="session")
def outcome_of() -> Callable[..., Outcome]:
    """The outcome of these bytes, which must be the same whole, byte by byte, and cut in two anywhere."""

    def outcome(data: bytes, credentials: Credentials | None = None) -> Outcome:
        whole = _converse([data], credentials)
        for chunks in _cuts(data):
            assert _converse(chunks, credentials) == whole, chunks
        return whole

    return outcome
