"""The questions that are out, as playbooks: which server is asked when, and what the guest is answered."""

from __future__ import annotations

import pytest

from relay.address import Endpoint
from relay.wire.dns.forwarder import MAX_QUESTIONS, POLICIES, Ask, Asker, Drop, Forwarder, Step, Tell
from relay.wire.dns.message import build_failure

ONE, TWO, THREE, FOUR = (Endpoint(f"192.0.2.{number}", 53) for number in (1, 2, 3, 4))
GUEST = Asker(0xC0A81B80, 40_000)
QUERY = b"\x12\x34\x01\x00\0\1\0\0\0\0\0\0\3www\4test\0\0\1\0\1"
REPLY = b"\x12\x34\x81\x80" + QUERY[4:]
FAILED = [Drop(0), Tell(GUEST, build_failure(QUERY))]


def ask(forwarder: Forwarder, *servers: Endpoint, message: bytes = QUERY, now_s: float = 0.0) -> list[Step]:
    return forwarder.ask(GUEST, message, servers, now_s)


def asked(steps: list[Step]) -> list[Endpoint]:
    """Who is asked, where nothing else is done."""
    assert all(isinstance(step, Ask) for step in steps), steps
    return [step.server for step in steps if isinstance(step, Ask)]


def test_the_first_server_is_asked_and_its_answer_passes_as_it_came() -> None:
    forwarder = Forwarder()
    assert ask(forwarder, ONE, TWO) == [Ask(0, ONE, QUERY, GUEST)]
    assert forwarder.on_message(0, REPLY) == [Drop(0), Tell(GUEST, REPLY)]
    assert (len(forwarder), forwarder.next_deadline_s) == (0, None)


def test_in_order_the_next_one_is_asked_after_the_timeout_and_so_on_as_often_as_it_may() -> None:
    forwarder = Forwarder(timeout_s=2.0, tries=2)
    assert asked(ask(forwarder, ONE, TWO)) == [ONE]
    for now_s, server in ((2.0, TWO), (4.0, ONE), (6.0, TWO)):
        assert forwarder.next_deadline_s == now_s
        assert forwarder.on_deadline(now_s - 0.1) == []
        assert asked(forwarder.on_deadline(now_s)) == [server]
    assert forwarder.on_deadline(8.0) == FAILED
    assert forwarder.next_deadline_s is None


def test_an_answer_of_a_server_that_was_given_up_counts_all_the_same() -> None:
    forwarder = Forwarder()
    ask(forwarder, ONE, TWO)
    forwarder.on_deadline(2.0)
    assert forwarder.on_message(0, REPLY) == [Drop(0), Tell(GUEST, REPLY)]


def test_by_rotation_each_question_begins_with_another_server() -> None:
    forwarder = Forwarder(policy="rotate")
    begun = [asked(ask(forwarder, ONE, TWO, THREE, message=bytes([number]) + QUERY[1:])) for number in range(4)]
    assert begun == [[ONE], [TWO], [THREE], [ONE]]
    assert asked(forwarder.on_deadline(2.0)) == [TWO, THREE, ONE, TWO]


def test_in_a_burst_three_are_asked_at_once_and_the_first_answer_counts() -> None:
    forwarder = Forwarder(policy="burst")
    assert asked(ask(forwarder, ONE, TWO, THREE, FOUR)) == [ONE, TWO, THREE]
    assert asked(forwarder.on_deadline(2.0)) == [FOUR]
    assert asked(forwarder.on_deadline(4.0)) == [ONE, TWO, THREE]
    assert forwarder.on_message(0, REPLY) == [Drop(0), Tell(GUEST, REPLY)]
    assert forwarder.on_message(0, REPLY) == []


@pytest.mark.parametrize("policy", POLICIES)
def test_without_a_server_the_server_has_failed(policy: str) -> None:
    assert ask(Forwarder(policy=policy)) == FAILED


def test_a_server_that_is_not_there_is_not_waited_for() -> None:
    forwarder = Forwarder(tries=1)
    ask(forwarder, ONE, TWO)
    assert asked(forwarder.on_absent(0, ONE, 0.1)) == [TWO]
    assert forwarder.next_deadline_s == pytest.approx(2.1)
    assert forwarder.on_absent(0, ONE, 0.2) == []
    assert forwarder.on_absent(0, TWO, 0.2) == FAILED
    assert forwarder.on_absent(0, TWO, 0.2) == []


def test_in_a_burst_the_others_are_waited_for() -> None:
    forwarder = Forwarder(policy="burst", tries=1)
    ask(forwarder, ONE, TWO)
    assert forwarder.on_absent(0, ONE, 0.1) == []
    assert forwarder.on_absent(0, TWO, 0.1) == FAILED


@pytest.mark.parametrize("message", [b"", QUERY, b"\0\0" + REPLY[2:]])
def test_what_is_no_reply_to_it_is_ignored(message: bytes) -> None:
    forwarder = Forwarder()
    ask(forwarder, ONE)
    assert forwarder.on_message(0, message) == []
    assert forwarder.on_message(99, REPLY) == []
    assert len(forwarder) == 1


def test_a_question_that_is_out_is_not_put_again_and_one_that_is_over_is() -> None:
    forwarder = Forwarder()
    ask(forwarder, ONE)
    assert ask(forwarder, ONE, now_s=1.0) == []
    other = Asker(GUEST.address, 40_001)
    assert forwarder.ask(other, QUERY, [ONE], 1.0) == [Ask(1, ONE, QUERY, other)]
    forwarder.on_message(0, REPLY)
    assert ask(forwarder, ONE) == [Ask(2, ONE, QUERY, GUEST)]


def test_of_too_many_questions_the_one_that_is_due_first_has_failed() -> None:
    forwarder = Forwarder()
    for number in range(MAX_QUESTIONS):
        ask(forwarder, ONE, message=number.to_bytes(2) + QUERY[2:])
    first = bytes(2) + QUERY[2:]
    steps = ask(forwarder, ONE, message=b"\xff\xff" + QUERY[2:])
    assert steps[:2] == [Drop(0), Tell(GUEST, build_failure(first))]
    assert len(forwarder) == MAX_QUESTIONS
