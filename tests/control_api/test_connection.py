"""A connection to the control alone, without a relay: what a client may send, and all that it is sent."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager

import anyio
import anyio.lowlevel
import pytest

from relay.control_api.connection import BODY_BYTES, Connection
from relay.control_api.exchange import Answer, Refused, Request
from support.bench import DEADLINE_S, in_thread, socket_pair

pytestmark = pytest.mark.anyio

_HOST = b"Host: any.test\r\n"
_POST = b"POST /one HTTP/1.1\r\n" + _HOST


class Answering:
    """Answers each request in the same way, and keeps what was asked."""

    def __init__(self, answer: Answer | Refused, refused: Refused | None = None) -> None:
        self._answer, self._refused = answer, refused
        self.asked: list[Request] = []

    def check(self, request: Request) -> None:
        if self._refused is not None:
            raise self._refused

    async def answer(self, request: Request) -> Answer:
        self.asked.append(request)
        if isinstance(self._answer, Refused):
            raise self._answer
        return self._answer


class Spans:
    """Takes note of how long something may last, and ends what is to last so long at once."""

    def __init__(self, *ended: float) -> None:
        self.asked: list[float] = []
        self._ended = ended

    @contextmanager
    def limited(self, seconds: float) -> Iterator[None]:
        self.asked.append(seconds)
        with anyio.move_on_after(0 if seconds in self._ended else DEADLINE_S):
            yield


async def heard(
    sent: bytes, answering: Answering, spans: Spans | None = None
) -> list[tuple[int, dict[str, str], bytes]]:
    """Each answer to a client that sends this and then its FIN: status, headers and body."""
    sock, client = socket_pair()

    def talk() -> bytes:
        client.sendall(sent)
        client.shutdown(socket.SHUT_WR)
        with client.makefile("rb") as file:
            return file.read()

    with client:
        with anyio.fail_after(DEADLINE_S):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(Connection(sock, answering, (spans or Spans()).limited).serve)
                told = await in_thread(talk)
        assert sock.fileno() == -1
    answers = []
    while told:
        head, _, told = told.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines)
        length = int(headers.get("Content-Length", len(told)))
        answers.append((int(first.split()[1]), headers, told[:length]))
        told = told[length:]
    return answers


async def refusals(sent: bytes, answering: Answering | None = None) -> list[int]:
    return [status for status, _, _ in await heard(sent, answering or Answering(Answer(200)))]


async def test_an_answer_lets_a_page_do_nothing_and_is_kept_by_no_cache() -> None:
    ((status, headers, body),) = await heard(
        b"GET /one?two=%33 HTTP/1.1\r\nX-Own: A\r\nX-Own: b\xff\r\n" + _HOST + b"\r\n",
        answering := Answering(Answer(201, b"made", "text/plain", {"Allow": "GET"})),
    )
    assert (status, body) == (201, b"made")
    assert headers == {
        "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
        "Referrer-Policy": "no-referrer",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Cache-Control": "no-store",
        "Content-Type": "text/plain",
        "Allow": "GET",
        "Content-Length": "4",
    }
    assert answering.asked == [Request("GET", "/one?two=%33", {"x-own": "b\xff", "host": "any.test"})]


async def test_no_content_has_neither_type_nor_length_and_head_has_no_body() -> None:
    ((status, headers, body),) = await heard(b"DELETE /one HTTP/1.1\r\n" + _HOST + b"\r\n", Answering(Answer(204)))
    assert (status, body, headers.keys() & {"Content-Type", "Content-Length"}) == (204, b"", set())
    sent = b"HEAD /one HTTP/1.1\r\n" + _HOST + b"Connection: close\r\n\r\n"
    sock, client = socket_pair()
    with client, client.makefile("rb") as file:
        client.sendall(sent)
        with anyio.fail_after(DEADLINE_S):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(Connection(sock, Answering(Answer(200, b"body")), Spans(1.0).limited).serve)
                told = await in_thread(file.read)
    assert told.endswith(b"Content-Length: 4\r\nConnection: close\r\n\r\n")


async def test_a_request_with_a_body_is_asked_whole_and_another_may_follow() -> None:
    request = _POST + b"Content-Length: 3\r\n\r\nabc"
    chunked = _POST + b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n2\r\nbc\r\n0\r\n\r\n"
    answers = await heard(request + chunked, answering := Answering(Answer(200, b"so")))
    assert [(status, body, headers.get("Connection")) for status, headers, body in answers] == [(200, b"so", None)] * 2
    assert [(asked.method, asked.target, asked.body) for asked in answering.asked] == [("POST", "/one", b"abc")] * 2


async def test_each_limit_holds_what_is_as_large_as_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    def asks(target: bytes, *lines: bytes) -> bytes:
        return b"\r\n".join([b"GET " + target + b" HTTP/1.1", *lines, _HOST, b""])

    longest = b"/" + b"a" * 4095
    assert await refusals(asks(longest)) == [200]
    ((status, headers, body),) = await heard(asks(longest + b"a"), Answering(Answer(200)))
    assert (status, headers["Connection"]) == (414, "close")
    assert body == b'{"error": "the path is longer than 4096 bytes", "status": 414}\n'
    begun = b"GET / HTTP/1.1\r\n"
    assert await refusals(begun.ljust((16 << 10) + 1, b"a")) == [431]
    assert await refusals(begun.ljust(16 << 10, b"a")) == [400], "it is cut off, and not too long"
    ((status, _, body),) = await heard(_POST + b"Content-Length: 1048577\r\n\r\n", Answering(Answer(200)))
    assert (status, b"the body is larger than 1048576 bytes" in body) == (413, True)
    unread = _POST + b"Content-Length: 2000000\r\n\r\n" + bytes(300_000)
    assert await refusals(unread) == [413], "what it goes on sending is read, so that it gets the answer"
    assert BODY_BYTES == 1 << 20
    monkeypatch.setattr("relay.control_api.connection.BODY_BYTES", 3)
    assert await refusals(_POST + b"Content-Length: 3\r\n\r\nabc") == [200]
    assert await refusals(_POST + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n") == [200]
    assert await refusals(_POST + b"Transfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n") == [413]


async def test_what_is_refused_before_its_body_is_not_asked_and_nothing_follows() -> None:
    refused = Refused(401, "no\ntoken", hint="send\none", headers={"WWW-Authenticate": "Bearer"})
    answering = Answering(Answer(200), refused)
    ((status, headers, body),) = await heard(_POST + b"Content-Length: 3\r\n\r\nabcGET / HTTP/1.1\r\n\r\n", answering)
    assert (status, headers["WWW-Authenticate"], headers["Connection"]) == (401, "Bearer", "close")
    assert body == b'{"error": "no\\\\ntoken", "status": 401, "hint": "send\\\\none"}\n'
    assert answering.asked == []


async def test_what_is_refused_once_it_was_read_lets_others_follow() -> None:
    answering = Answering(Refused(404, "x" * 1001))
    answers = await heard((_POST + b"Content-Length: 0\r\n\r\n") * 2, answering)
    for status, headers, body in answers:
        assert (status, "Connection" in headers) == (404, False)
        assert body == b'{"error": "' + b"x" * 1000 + b'", "status": 404}\n'
    assert len(answers) == 2


async def test_what_is_no_http_is_named_and_ends_the_connection() -> None:
    ((status, headers, body),) = await heard(b"GET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\n", Answering(Answer(200)))
    assert (status, headers["Connection"]) == (400, "close")
    assert body.startswith(b'{"error": "no HTTP: Missing mandatory Host: header", "status": 400')
    assert await refusals(_POST + b"Content-Length: 3\r\n\r\n") == [400], "its body is cut off"


async def test_each_wait_has_its_limit() -> None:
    spans = Spans()
    await heard(b"GET / HTTP/1.1\r\n" + _HOST + b"\r\n", Answering(Answer(200)), spans)
    assert spans.asked == [120.0, 10.0, 120.0, 1.0], "for a request, its answer, the next, and what may follow the last"


async def test_a_client_that_asks_nothing_in_time_is_let_go_unanswered() -> None:
    spans = Spans(120.0)
    sock, client = socket_pair()
    with client:
        with anyio.fail_after(DEADLINE_S):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(Connection(sock, Answering(Answer(200)), spans.limited).serve)
                assert await in_thread(client.recv, 1) == b""
                client.close()
        assert spans.asked == [120.0, 1.0]


class Pieces:
    """A stream; it says when it is closed, which takes a turn of the loop."""

    def __init__(self, *pieces: bytes) -> None:
        self.closed = False
        self._pieces = pieces
        self._cut: Callable[[], None] | None = None

    def cut_off_by(self, cut: Callable[[], None]) -> None:
        """Have the stream cut off before its first piece is sent."""
        self._cut = cut

    async def stream(self) -> AsyncIterator[bytes]:
        try:
            for piece in self._pieces:
                if self._cut is not None:
                    self._cut()
                yield piece
        finally:
            await anyio.lowlevel.checkpoint()
            self.closed = True


async def test_a_stream_is_sent_piece_by_piece_and_closed() -> None:
    pieces = Pieces(b"one", b"", b"two")
    answering = Answering(Answer(200, pieces.stream(), "text/event-stream"))
    ((status, headers, body),) = await heard(b"GET / HTTP/1.1\r\n" + _HOST + b"\r\n", answering, spans := Spans())
    assert (status, headers["Transfer-Encoding"], "Content-Length" in headers) == (200, "chunked", False)
    assert body == b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"
    assert pieces.closed
    assert spans.asked[:3] == [120.0, 10.0, 10.0], "its head and its end have the limit of an answer"


async def test_another_request_may_follow_a_stream() -> None:
    sock, client = socket_pair()
    with client, client.makefile("rb") as file:
        client.sendall((b"GET / HTTP/1.1\r\n" + _HOST + b"\r\n") * 2)
        client.shutdown(socket.SHUT_WR)
        with anyio.fail_after(DEADLINE_S):
            answering = Answering(Answer(200, Pieces(b"one").stream()))
            await Connection(sock, answering, Spans().limited).serve()
            assert (await in_thread(file.read)).count(b"HTTP/1.1 200 ") == 2


async def test_a_client_that_reads_slowly_gets_all_of_its_answer() -> None:
    sock, client = socket_pair()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    with client, client.makefile("rb") as file:
        client.sendall(b"GET / HTTP/1.1\r\n" + _HOST + b"Connection: close\r\n\r\n")
        async with anyio.create_task_group() as tasks:
            connection = Connection(sock, Answering(Answer(200, b"x" * (128 << 10))), Spans(1.0).limited)
            tasks.start_soon(connection.serve)
            assert (await in_thread(file.read)).count(b"x") == 128 << 10


async def test_a_stream_that_is_cut_off_amid_a_piece_is_closed_and_so_is_its_connection() -> None:
    pieces = Pieces(bytes(16 << 20))
    answer = Answer(200, pieces.stream(), cut_off_by=pieces.cut_off_by)
    sock, client = socket_pair()
    with client, client.makefile("rb") as file:
        client.sendall(b"GET / HTTP/1.1\r\n" + _HOST + b"\r\n")
        with anyio.fail_after(DEADLINE_S):
            await Connection(sock, Answering(answer), (spans := Spans()).limited).serve()
        assert (pieces.closed, sock.fileno(), spans.asked) == (True, -1, [120.0, 10.0])
        assert not (await in_thread(file.read)).endswith(b"0\r\n\r\n")
