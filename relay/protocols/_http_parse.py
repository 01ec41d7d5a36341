"""A head's bytes, as h11 reads them.

These are h11's readers without the connection around them, which takes each event through a state machine: of the 32 us
for the two heads of a small exchange that is 13. The readers are no public part of h11, so the releases that are taken
have an end (pyproject.toml), and a test compares what they read with what a connection reads.
"""

from __future__ import annotations

from typing import TypeAlias, cast

import h11
from h11._readers import maybe_read_from_IDLE_client, maybe_read_from_SEND_RESPONSE_server
from h11._receivebuffer import ReceiveBuffer

ResponseHead: TypeAlias = h11.Response | h11.InformationalResponse
Head: TypeAlias = h11.Request | ResponseHead


def parse_request(head: bytes) -> h11.Request:
    """A request's head, whole, with its blank line.

    Raises:
        h11.ProtocolError: it is none.
    """
    request = maybe_read_from_IDLE_client(_WholeHead(head))
    assert request is not None  # noqa: S101 - it is whole
    return request


def parse_response(head: bytes, *, offered: bool) -> ResponseHead:
    """A response's head, whole, with its blank line, to a request that has `offered` another protocol or has not.

    Raises:
        h11.ProtocolError: the head is malformed, or answers no such request.
    """
    response = maybe_read_from_SEND_RESPONSE_server(_WholeHead(head))
    assert response is not None  # noqa: S101 - it is whole
    if response.status_code == 101 and not offered:
        raise h11.RemoteProtocolError("a change to a protocol that was not offered")
    return response


def fault_of(error: h11.ProtocolError) -> str:
    """What h11 rejects, without the line that it quotes behind a colon: there may be credentials in it.

    h11 raises the error in a method of the error's own: from there it holds itself, and every frame up to the one that
    asks here, with all their buffers. So it is asked once, and its traceback is dropped.
    """
    error.__traceback__ = None
    return str(error).partition(":")[0]


class _WholeHead(ReceiveBuffer):
    """A head that is known to be whole: its lines, without another search for its end, and two copies less."""

    def __init__(self, head: bytes) -> None:
        self._head = head

    def maybe_extract_lines(self) -> list[bytearray]:
        *lines, _, _ = self._head.split(b"\n")
        return cast("list[bytearray]", [line[:-1] if line[-1:] == b"\r" else line for line in lines])
