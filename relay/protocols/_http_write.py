"""How heads and bodies are written.

Nothing is checked here: all that comes here was read by h11 before. In what h11 takes for a method, a target, a
reason, a field's name or value there is no CR, LF or NUL, and no space where it would part one from the next. What the
relay adds is constants, and a Host that `_http_request` has cut out of such a target.
"""

from __future__ import annotations

from collections.abc import Iterable

from relay.protocols._http_fields import Field

CHUNKED: Field = (b"Transfer-Encoding", b"chunked")
CLOSE: Field = (b"Connection", b"close")
KEEP_ALIVE: Field = (b"Connection", b"keep-alive")


def head_bytes(first_line: bytes, fields: Iterable[Field]) -> bytes:
    """A message's head, to the blank line."""
    return b"\r\n".join([first_line, *map(b": ".join, fields), b"", b""])


def chunk_bytes(data: bytes) -> bytes:
    """A chunk with this data, of which there must be some: an empty chunk is the last."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def last_chunk_bytes(trailers: Iterable[Field]) -> bytes:
    """The end of a body in chunks."""
    return head_bytes(b"0", trailers)
