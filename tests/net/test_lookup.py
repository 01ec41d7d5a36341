"""From a destination to its addresses, for what is not dialled: one answer, later, or none once it is given up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import anyio
import anyio.lowlevel
import pytest

from relay.address import Endpoint
from relay.events import DialFailure, FailureKind
from relay.loop.timers import Timer
from relay.net.dial import Address
from relay.net.lookup import Lookup
from relay.net.resolve import address_of
from support.bench import DEADLINE_S, open_engine

pytestmark = pytest.mark.anyio

NAME, FOUND = Endpoint("a.test", 53), [address_of("192.0.2.1", 53)]


class SlowConnector:
    """Knows an address, or looks it up when it may."""

    def __init__(self, known: list[Address] | None = None, timeout_s: float = DEADLINE_S) -> None:
        self._known = known
        self.timeout_s = timeout_s
        self.resolver = self
        self.asked: list[tuple[Endpoint, str]] = []
        self.may_answer = anyio.Event()
        self.answer = FOUND
        self.given_up = False

    def known(self, destination: Endpoint) -> list[Address] | None:
        assert destination == NAME
        return self._known

    async def look_up(self, destination: Endpoint, client: str) -> list[Address]:
        self.asked.append((destination, client))
        try:
            await self.may_answer.wait()
        except BaseException:
            self.given_up = True
            raise
        return self.answer


class Answers:
    """What a look-up has found, and the timer that limits it."""

    def __init__(self) -> None:
        self.found: list[list[Address] | DialFailure] = []
        self.timers: list[Timer] = []
        self._came = anyio.Event()

    def begin(self, engine: Any, connector: SlowConnector) -> Lookup:
        call_later = engine.call_later

        def noting(delay_s: float, callback: Callable[[], None]) -> Timer:
            self.timers.append(call_later(delay_s, callback))
            return self.timers[-1]

        engine.call_later = noting
        return Lookup(engine, cast("Any", connector), NAME, self._take, client="client")

    def _take(self, found: list[Address] | DialFailure) -> None:
        self.found.append(found)
        self._came.set()

    async def get(self) -> list[Address] | DialFailure:
        with anyio.fail_after(DEADLINE_S):
            await self._came.wait()
        await go_round()
        (found,) = self.found
        return found


async def go_round() -> None:
    for _ in range(5):
        await anyio.lowlevel.checkpoint()


async def test_what_is_known_is_found_later_without_a_resolver_and_no_timer_stays() -> None:
    answers, connector = Answers(), SlowConnector(FOUND)
    async with open_engine() as (engine, faults):
        answers.begin(engine, connector)
        assert not answers.found
        assert await answers.get() == FOUND
        assert [timer.take() for timer in answers.timers] == [None]
    assert not connector.asked
    assert not faults


@pytest.mark.parametrize("is_found", [True, False])
async def test_a_name_is_looked_up_for_its_client_and_may_have_no_address(is_found: bool) -> None:
    answers, connector = Answers(), SlowConnector()
    connector.answer = FOUND if is_found else []
    connector.may_answer.set()
    async with open_engine() as (engine, faults):
        answers.begin(engine, connector)
        assert await answers.get() == (FOUND if is_found else DialFailure(FailureKind.NOT_RESOLVED, "a.test"))
        assert [timer.take() for timer in answers.timers] == [None]
    assert connector.asked == [(NAME, "client")]
    assert not faults


async def test_one_that_takes_too_long_has_failed_and_a_late_answer_does_not_count() -> None:
    answers, connector = Answers(), SlowConnector(timeout_s=0.02)
    async with open_engine() as (engine, faults):
        answers.begin(engine, connector)
        failure = DialFailure(FailureKind.TIMED_OUT, "a.test was not resolved within 0.02 s")
        assert await answers.get() == failure
        connector.may_answer.set()
        await go_round()
    assert answers.found == [failure]
    assert not faults


@pytest.mark.parametrize("known", [None, FOUND])
@pytest.mark.parametrize("begun", [False, True])
async def test_one_that_is_given_up_has_no_answer_and_no_timer(known: list[Address] | None, begun: bool) -> None:
    answers, connector = Answers(), SlowConnector(known)
    async with open_engine() as (engine, faults):
        lookup = answers.begin(engine, connector)
        with anyio.fail_after(DEADLINE_S):
            while begun and known is None and not connector.asked:
                await anyio.lowlevel.checkpoint()
        lookup.abandon()
        assert [timer.take() for timer in answers.timers] == [None]
        connector.may_answer.set()
        await go_round()
        assert bool(connector.asked) == connector.given_up == (begun and known is None)
    assert not answers.found
    assert not faults
