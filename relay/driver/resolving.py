"""The phase of a flow whose initiator wants only the answer to a question; the answer ends the flow."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from relay.address import Endpoint
from relay.causes import Cause
from relay.events import DialFailure
from relay.frontends import Conversation
from relay.legs import BROKEN, Leg
from relay.net.connect import host_of
from relay.net.question import Question
from relay.protocols import Resolve

if TYPE_CHECKING:
    from relay.driver.flow import Flow


class Resolving:
    """Waits for the answer; see `relay.driver.phase.Phase`."""

    __slots__ = ("_conversation", "_flow", "_leg", "_question")

    def __init__(self, flow: Flow, leg: Leg, conversation: Conversation) -> None:
        self._flow = flow
        self._leg = leg
        self._conversation = conversation
        self._question: Question | None = None

    def begin(self, question: Resolve) -> None:
        """Look it up."""
        driver = self._flow.driver
        self._question = Question(
            driver.engine,
            driver.connector,
            question.host,
            self._flow.guarded(partial(self._on_answer, question.host)),
            client=host_of(self._flow.client_end()),
            reverse=question.reverse,
        )

    def on_leg_ready(self) -> None:
        # One read finds a RST. A FIN ends only the input, and other input may wait.
        leg = self._leg
        if leg.readable and not leg.frozen and leg.receive_into(leg.loop.buffer) == BROKEN:
            self._flow.report_broken(leg)

    def leave(self) -> None:
        if self._question is not None:
            self._question.abandon()
            self._question = None

    def _on_answer(self, name: str, answer: str | DialFailure) -> None:
        flow, self._question = self._flow, None
        failure = answer.kind.value if isinstance(answer, DialFailure) else None
        told = None if isinstance(answer, DialFailure) else answer
        flow.log.write("name-resolved", client=flow.client, name=name, answer=told, failure=failure)
        if isinstance(answer, DialFailure):
            self._leg.write(self._conversation.refuse(answer) or b"")
            flow.give_up(Cause.DESTINATION, in_order=True)
        else:
            self._leg.write(self._conversation.grant(Endpoint(answer, 0)))
            flow.give_up(Cause.ANSWERED, in_order=True)
