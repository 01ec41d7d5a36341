"""A question about a name: one answer, or none once it is given up."""

from __future__ import annotations

from typing import Any, cast

import anyio
import pytest

from relay.events import DialFailure, FailureKind
from relay.net.question import Question
from support.bench import DEADLINE_S, open_engine

pytestmark = pytest.mark.anyio


class SlowConnector:
    """Answers when it may."""

    def __init__(self, timeout_s: float) -> None:
        self.timeout_s = timeout_s
        self.asked, self.may_answer = anyio.Event(), anyio.Event()
        self.questions: list[tuple[str, str, bool]] = []
        self.found: str | None = "192.0.2.1"
        self.given_up = False

    async def answer(self, host: str, client: str, *, reverse: bool) -> str | None:
        self.questions.append((host, client, reverse))
        self.asked.set()
        try:
            await self.may_answer.wait()
        except BaseException:
            self.given_up = True
            raise
        return self.found


@pytest.mark.parametrize("given_up", ["never", "at once", "later"])
async def test_one_that_is_given_up_has_no_answer_and_no_timer(given_up: str) -> None:
    answers: list[str | DialFailure] = []
    async with open_engine() as (engine, faults):
        connector = SlowConnector(DEADLINE_S)
        began_s = engine.now_s()
        question = Question(engine, cast("Any", connector), "a.test", answers.append, client="", reverse=False)
        assert began_s <= question._timer.due_s - connector.timeout_s <= engine.now_s()
        if given_up != "at once":
            await connector.asked.wait()
        if given_up != "never":
            question.abandon()
            assert question._timer.take() is None
        connector.may_answer.set()
        for _ in range(5):
            await anyio.lowlevel.checkpoint()
        assert question._timer.take() is None
        assert connector.asked.is_set() == (given_up != "at once")
        assert connector.given_up == (given_up == "later")
    assert answers == (["192.0.2.1"] if given_up == "never" else [])
    assert not faults


@pytest.mark.parametrize("reverse", [False, True])
async def test_it_is_asked_for_its_client_and_none_is_a_failure_that_names_what_was_asked(reverse: bool) -> None:
    answers: list[str | DialFailure] = []
    async with open_engine() as (engine, faults):
        connector = SlowConnector(DEADLINE_S)
        connector.found = None
        connector.may_answer.set()
        Question(engine, cast("Any", connector), "a.test", answers.append, client="client", reverse=reverse)
        with anyio.fail_after(DEADLINE_S):
            while not answers:
                await anyio.lowlevel.checkpoint()
    assert connector.questions == [("a.test", "client", reverse)]
    assert answers == [DialFailure(FailureKind.NOT_RESOLVED, "a.test")]
    assert not faults


async def test_one_that_takes_too_long_has_failed_and_a_late_answer_does_not_count() -> None:
    answers: list[str | DialFailure] = []
    failed = anyio.Event()

    def take(answer: str | DialFailure) -> None:
        answers.append(answer)
        failed.set()

    async with open_engine() as (engine, faults):
        connector = SlowConnector(0.02)
        Question(engine, cast("Any", connector), "a.test", take, client="", reverse=False)
        with anyio.fail_after(DEADLINE_S):
            await failed.wait()
        connector.may_answer.set()
        for _ in range(5):
            await anyio.lowlevel.checkpoint()
    assert answers == [DialFailure(FailureKind.TIMED_OUT, "a.test")]
    assert not faults
