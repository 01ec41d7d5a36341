"""DNS messages (RFC 1035 section 4): of a query its question, of a reply the addresses in it, and replies of our own.

What is forwarded is forwarded as it came, whatever is in it: only the twelve bytes of the header have to be there. A
message that cannot be read counts as one without a question or addresses; it is no error.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple, TypeAlias

Buffer: TypeAlias = bytes | bytearray | memoryview

A, PTR, AAAA = 1, 12, 28
SERVFAIL = 2
UDP_BYTES = 512
"""What a reply over UDP has at the most, if the query does not say otherwise."""

_HEADER = struct.Struct(">HHHHHH")
_RECORD = struct.Struct(">HHIH")
_QR, _OPCODE, _TC, _RD, _RA = 0x8000, 0x7800, 0x0200, 0x0100, 0x0080
_IN = 1
_POINTER = 0xC0
_TO_QUESTION = (_POINTER << 8 | _HEADER.size).to_bytes(2)
_MAX_NAME_BYTES, _MAX_LABEL_BYTES = 255, 63
_TTL_S = 0  # the host's settings may change, and are asked again


class Question(NamedTuple):
    """What is asked for: a name in lower case without its last dot, and a type."""

    name: str
    kind: int


class Query(NamedTuple):
    """A query; `question` is None if it is not one plain question for the Internet."""

    ident: int
    question: Question | None


def parse_query(message: Buffer) -> Query | None:
    """Read a query; None if it is none."""
    if len(message) < _HEADER.size:
        return None
    ident, flags, questions, *_ = _HEADER.unpack_from(message)
    if flags & _QR:
        return None
    question = _question(message) if questions == 1 and not flags & _OPCODE else None
    return Query(ident, question)


def is_reply(message: Buffer, query: Buffer) -> bool:
    """Whether a message is a reply, and to this query, as far as its identifier says."""
    return len(message) >= _HEADER.size and message[2] & _QR >> 8 != 0 and message[:2] == query[:2]


def build_reply(query: Buffer, kind: int, values: Sequence[bytes], most_bytes: int) -> bytes:
    """The reply of these values, all of one type, to a query with a question; truncated if it is too long."""
    question = _question_bytes(query)
    answers = b"".join(_TO_QUESTION + _RECORD.pack(kind, _IN, _TTL_S, len(value)) + value for value in values)
    flags, count = _QR | _RA, len(values)
    if _HEADER.size + len(question) + len(answers) > most_bytes:
        flags, count, answers = flags | _TC, 0, b""
    return _head(query, flags, bool(question), count) + question + answers


def build_failure(query: Buffer) -> bytes:
    """The reply that the name server failed."""
    question = _question_bytes(query)
    return _head(query, _QR | _RA | SERVFAIL, bool(question), 0) + question


def addresses_in(reply: Buffer) -> Iterator[tuple[str, str]]:
    """The addresses in a reply to one question, each with the name that was asked for."""
    question = _question(reply) if len(reply) >= _HEADER.size else None
    if question is None:
        return
    _, _, _, answers, _, _ = _HEADER.unpack_from(reply)
    at = _HEADER.size + len(_question_bytes(reply))
    for _ in range(answers):
        start = _behind_name(reply, at)
        if start is None or len(reply) < start + _RECORD.size:
            return
        kind, of_class, _, size = _RECORD.unpack_from(reply, start)
        value = bytes(reply[start + _RECORD.size : start + _RECORD.size + size])
        at = start + _RECORD.size + size
        if of_class == _IN and (kind, len(value)) == (A, 4):
            yield str(IPv4Address(value)), question.name
        elif of_class == _IN and (kind, len(value)) == (AAAA, 16):
            yield str(IPv6Address(value)), question.name


def encode_name(name: str) -> bytes | None:
    """A name as it is in a message; None if it cannot be."""
    try:
        labels = [label.encode("ascii") for label in name.split(".")]
    except UnicodeEncodeError:
        return None
    if not all(0 < len(label) <= _MAX_LABEL_BYTES for label in labels):
        return None
    encoded = b"".join(bytes([len(label)]) + label for label in labels) + b"\0"
    return encoded if len(encoded) <= _MAX_NAME_BYTES else None


def _head(query: Buffer, flags: int, has_question: bool, answers: int) -> bytes:
    ident, asked, *_ = _HEADER.unpack_from(query)
    return _HEADER.pack(ident, flags | asked & (_OPCODE | _RD), has_question, answers, 0, 0)


def _question(message: Buffer) -> Question | None:
    """The first question, if it can be read."""
    end = _behind_name(message, _HEADER.size)
    if end is None or len(message) < end + 4 or message[end + 2 : end + 4] != _IN.to_bytes(2):
        return None
    labels, at = [], _HEADER.size
    while size := message[at]:
        if size > _MAX_LABEL_BYTES:
            return None  # a pointer: there is no name before the first one
        labels.append(bytes(message[at + 1 : at + 1 + size]))
        at += 1 + size
    name = b".".join(labels).decode("ascii", "backslashreplace").lower()
    return Question(name, int.from_bytes(message[end : end + 2]))


def _question_bytes(message: Buffer) -> bytes:
    """The question as it is in the message; empty if it cannot be read."""
    end = _behind_name(message, _HEADER.size) if message[4:6] == b"\0\1" else None
    return bytes(message[_HEADER.size : end + 4]) if end is not None and end + 4 <= len(message) else b""


def _behind_name(message: Buffer, at: int) -> int | None:
    """Where a name ends that begins here; None if it does not. A pointer is not followed."""
    while at < len(message):
        size = message[at]
        if size == 0:
            return at + 1
        if size & _POINTER == _POINTER:
            return at + 2
        if size > _MAX_LABEL_BYTES:
            return None
        at += 1 + size
    return None
