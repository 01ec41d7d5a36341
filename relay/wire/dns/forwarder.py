"""The questions that are out: the servers that each was sent to, and what follows without an answer.

    order     one server after the other, in their order
    rotate    the same, and each question begins with the server behind the one that the last question began with
    burst     three servers at once; the first answer counts

After `timeout_s` without an answer the next server is asked, or the next three; when all have been, from the beginning,
`tries` times in all. After an error from a server, or on the way to it, the next one follows at once. After the last
one the answer is SERVFAIL. A question that a guest repeats meanwhile is not sent again.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from relay.address import Endpoint
from relay.wire.dns.message import build_failure, is_reply

POLICIES = ("order", "rotate", "burst")
TIMEOUT_S = 2.0  # the shipped ones are not known; a guest's resolver gives up after 5 s
TRIES = 3
MAX_QUESTIONS = 512
_BURST = 3


class Asker(NamedTuple):
    """Who asks: a guest's address and port."""

    address: int
    port: int


class Ask(NamedTuple):
    """Put a question to a server; `number` is the question's."""

    number: int
    server: Endpoint
    message: bytes
    asker: Asker


class Tell(NamedTuple):
    """Tell the asker the answer."""

    asker: Asker
    message: bytes


class Drop(NamedTuple):
    """The question is over: no server's answer to it counts any more."""

    number: int


Step: TypeAlias = Ask | Tell | Drop


@dataclass
class _Question:
    asker: Asker
    message: bytes
    to_come: Iterator[Sequence[Endpoint]]
    """Which servers are asked next, and so on."""
    asked: set[Endpoint]
    """Of the last ones, those that may still answer."""
    deadline_s: float = 0.0


class Forwarder:
    """The questions of one NAT's guests. Times are in seconds."""

    def __init__(self, *, policy: str = "order", timeout_s: float = TIMEOUT_S, tries: int = TRIES) -> None:
        """`policy` is one of `POLICIES`."""
        self._policy = policy
        self._timeout_s = timeout_s
        self._tries = tries
        self._questions: dict[int, _Question] = {}  # the one that is due first comes first
        self._numbers: dict[tuple[Asker, bytes], int] = {}
        self._count = itertools.count()
        self._first = 0  # of the servers, to begin with

    def __len__(self) -> int:
        """How many questions are out."""
        return len(self._questions)

    @property
    def next_deadline_s(self) -> float | None:
        """When `on_deadline` is to be called."""
        return next((question.deadline_s for question in self._questions.values()), None)

    def ask(self, asker: Asker, message: bytes, servers: Sequence[Endpoint], now_s: float) -> list[Step]:
        """Begin with a question, which these servers may be asked."""
        if (asker, message) in self._numbers:
            return []
        steps: list[Step] = []
        if len(self._questions) >= MAX_QUESTIONS:
            steps += self._fail(next(iter(self._questions)))
        number = next(self._count)
        self._questions[number] = _Question(asker, message, self._plan(servers), set())
        self._numbers[asker, message] = number
        return [*steps, *self._go_on(number, now_s)]

    def on_message(self, number: int, message: bytes) -> list[Step]:
        """A server has sent this to where a question came from."""
        question = self._questions.get(number)
        if question is None or not is_reply(message, question.message):
            return []
        self._forget(number)
        return [Drop(number), Tell(question.asker, message)]

    def on_absent(self, number: int, server: Endpoint, now_s: float) -> list[Step]:
        """A server is not there, or cannot be asked."""
        question = self._questions.get(number)
        if question is None or server not in question.asked:
            return []
        question.asked.discard(server)
        return self._go_on(number, now_s) if not question.asked else []

    def on_deadline(self, now_s: float) -> list[Step]:
        """Go on with those that were not answered in time."""
        steps: list[Step] = []
        for number, question in list(self._questions.items()):
            if question.deadline_s > now_s:
                break
            steps += self._go_on(number, now_s)
        return steps

    def _plan(self, servers: Sequence[Endpoint]) -> Iterator[Sequence[Endpoint]]:
        if self._policy == "rotate" and servers:
            first = self._first % len(servers)
            self._first = first + 1
            servers = [*servers[first:], *servers[:first]]
        size = _BURST if self._policy == "burst" else 1
        batches = [servers[at : at + size] for at in range(0, len(servers), size)]
        return itertools.chain.from_iterable(itertools.repeat(batches, self._tries))

    def _go_on(self, number: int, now_s: float) -> list[Step]:
        question = self._questions[number]
        batch = next(question.to_come, None)
        if batch is None:
            return self._fail(number)
        question.asked = set(batch)
        question.deadline_s = now_s + self._timeout_s
        self._questions[number] = self._questions.pop(number)
        return [Ask(number, server, question.message, question.asker) for server in batch]

    def _fail(self, number: int) -> list[Step]:
        question = self._questions[number]
        self._forget(number)
        return [Drop(number), Tell(question.asker, build_failure(question.message))]

    def _forget(self, number: int) -> None:
        question = self._questions.pop(number)
        del self._numbers[question.asker, question.message]
