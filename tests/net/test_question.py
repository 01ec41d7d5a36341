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

    async def answer(self, host: str, client: str, *, reverse: bool) -> str:
        self.asked.set()
        await self.may_answer.wait()
        return "192.0.2.1"


@pytest.mark.parametrize("given_up", [False, True])
async def test_one_that_is_given_up_has_no_answer(given_up: bool) -> None:
    answers: list[str | DialFailure] = []
    async with open_engine() as (engine, faults):
        connector = SlowConnector(DEADLINE_S)
        question = Question(engine, cast("Any", connector), "a.test", answers.append, client="", reverse=False)
        await connector.asked.wait()
        if given_up:
            question.abandon()
        connector.may_answer.set()
        for _ in range(5):
            await anyio.lowlevel.checkpoint()
    assert answers == ([] if given_up else ["192.0.2.1"])
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
