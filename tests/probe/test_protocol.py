"""What crosses between a probe and its server: whole or in pieces, mangled or beyond its bounds."""

from __future__ import annotations

import random

import pytest

from relay.errors import ProtocolError
from relay.probe.protocol.lines import MAX_LINE_BYTES, LineReader, as_line
from relay.probe.protocol.proof import (
    HEAD_BYTES,
    client_proof,
    is_genuine,
    is_proof,
    make_head,
    read_head,
    server_proof,
    session_key,
)
from relay.probe.protocol.report import MAX_ENTRIES, Report, read_report
from relay.probe.protocol.steps import FIN, REPORT, Read, Send, Wait, as_values, read_steps

_MESSAGE = {"id": 7, "do": "script", "number": 3, "steps": [["read", 1, 2.5], ["send", 10], ["wait", 3], ["fin"]]}
_SESSION, _TOKEN = bytes(8), b"0123456789abcdef"


def test_messages_are_read_byte_by_byte_and_many_at_once() -> None:
    reader, line = LineReader(), as_line(_MESSAGE)
    for byte in line[:-1]:
        reader.receive_data(bytes([byte]))
        assert reader.next_event() is None
    reader.receive_data(line[-1:] + line + line)
    assert [reader.next_event() for _ in range(4)] == [_MESSAGE, _MESSAGE, _MESSAGE, None]


@pytest.mark.parametrize(
    "line",
    [
        b"\n",
        b"[]\n",
        b"7\n",
        b"{\n",
        b'{"id": NaN}\n',
        b'{"id": 1' + b"0" * 400 + b"}\n",
        b"[" * 4000 + b"\n",
        b'{"a":' * 600 + b"\n",
        b'{"id": "\xff"}\n',
        b" " * MAX_LINE_BYTES,
    ],
)
def test_a_line_that_is_no_message_is_a_protocol_error(line: bytes) -> None:
    reader = LineReader()
    reader.receive_data(line)
    with pytest.raises(ProtocolError):
        reader.next_event()


def test_a_hundred_thousand_mangled_lines_are_messages_or_protocol_errors() -> None:
    chance, line = random.Random(7), as_line(_MESSAGE)  # noqa: S311 - which bytes are mangled
    read = 0
    for _ in range(100_000):
        mangled = bytearray(line)
        for _ in range(chance.randrange(1, 4)):
            mangled[chance.randrange(len(line))] = chance.randrange(256)
        reader = LineReader()
        reader.receive_data(bytes(mangled))
        try:
            message = reader.next_event()
            if message is not None:
                read_steps(message.get("steps"))
                read += 1
        except ProtocolError:
            pass
    assert 0 < read < 100_000


def test_both_prove_that_they_have_the_token_and_neither_proof_is_the_others() -> None:
    ours, theirs = b"a" * 16, b"b" * 16
    proof = client_proof(_TOKEN, theirs, ours)
    assert is_proof(proof, client_proof(_TOKEN, theirs, ours))
    for other in (
        server_proof(_TOKEN, theirs, ours),
        client_proof(_TOKEN, ours, theirs),
        client_proof(_TOKEN + b"x", theirs, ours),
    ):
        assert not is_proof(proof, other)


def test_a_head_is_for_one_session_and_one_number() -> None:
    key = session_key(_TOKEN, _SESSION)
    head = make_head(key, _SESSION, 9)
    assert len(head) == HEAD_BYTES
    assert read_head(head) == (_SESSION, 9)
    assert is_genuine(head, key)
    assert not is_genuine(head, session_key(b"another token...", _SESSION))
    for place in range(4, HEAD_BYTES):
        assert not is_genuine(head[:place] + bytes([head[place] ^ 1]) + head[place + 1 :], key)
    for wrong in (head[:-1], head + b"x", b"\1" + head[1:], b"GET / HTTP/1.1\r\nHost: example.\r\n"):
        with pytest.raises(ProtocolError):
            read_head(wrong)


def test_steps_cross_as_they_are() -> None:
    steps = (Read(1, 30.0), Send(65_536), Wait(86_400.0), REPORT, FIN)
    assert read_steps(as_values(steps)) == steps


@pytest.mark.parametrize(
    "values",
    [
        None,
        [],
        [["fin"]] * 17,
        [["send", 65_537]],
        [["send", 0]],
        [["send", True]],
        [["send", 1.0]],
        [["wait", 86_401]],
        [["wait", -1]],
        [["wait", float("inf")]],
        [["wait", float("nan")]],
        [["wait", "1"]],
        [["read", 1]],
        [["read", 1 << 30, 1]],
        [["exec", "id"]],
        [["fin", 1]],
        [[["fin"]]],
        ["fin"],
    ],
)
def test_steps_beyond_their_bounds_are_refused(values: object) -> None:
    with pytest.raises(ProtocolError):
        read_steps(values)


def test_a_report_crosses_scaled_and_never_grows_beyond_a_line() -> None:
    report = Report()
    for number in range(100):
        report.add(number, "state", dict.fromkeys(("port", "segments_in", "bytes_in"), number))
        report.add(number, "bytes", 1)
        report.add(number, "bytes", 2)
    assert len(report.entries) == MAX_ENTRIES
    report = Report()
    report.add(0.25, "sent", 5)
    report.add(0.5, "bytes", 3)
    report.add(0.5, "bytes", 4)
    report.add(1.0, "error", "ETIMEDOUT")
    read = read_report(report.as_values(), scale=100.0)
    assert [(seen.at_s, seen.what, seen.value) for seen in read.entries] == [
        (25.0, "sent", 5),
        (50.0, "bytes", 7),
        (100.0, "error", "ETIMEDOUT"),
    ]
    assert (read.end, read.count("bytes")) == ("ETIMEDOUT", 7)


@pytest.mark.parametrize(
    "values",
    [
        None,
        [[0, "fin"]] * 49,
        [[-1, "fin"]],
        [["0", "fin"]],
        [[0, "what"]],
        [[0, "bytes"]],
        [[0, "bytes", -1]],
        [[0, "bytes", 1, 1]],
        [[0, "error", "a b"]],
        [[0, "state", 1]],
        [[0, "state", {"port": "x"}]],
    ],
)
def test_a_report_that_is_none_is_refused(values: object) -> None:
    with pytest.raises(ProtocolError):
        read_report(values)
