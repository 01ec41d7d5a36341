"""The relay's answers to a client that asks only for a name: without a socket, a resolver or an async library."""

from __future__ import annotations

import pytest

from relay.events import DialFailure, FailureKind, Side
from support.clients import socks5_request
from support.memory_driver import End, MemoryDriver, proxy

_RESOLVE = 0xF0
_HELLO = b"\x05\x01\x00"


class Asked:
    """The one question that a driver has begun; the test answers it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.hosts: list[str] = []
        self.abandoned = 0
        asked = self

        class Question:
            def __init__(self, engine: object, connector: object, host: str, told: object, **_: object) -> None:
                asked.hosts.append(host)
                asked.tell = told

            def abandon(self) -> None:
                asked.abandoned += 1

        self.tell: object = None
        monkeypatch.setattr("relay.driver.resolving.Question", Question)

    def answer(self, with_what: str | DialFailure) -> None:
        assert callable(self.tell)
        self.tell(with_what)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    return Asked(monkeypatch)


def ask(nat: MemoryDriver) -> End:
    client = nat.call(proxy())
    client.says(_HELLO + socks5_request("a.test", 0, _RESOLVE))
    nat.settle()
    assert client.hears() == b"\x05\x00"
    return client


def test_the_answer_ends_the_flow(asked: Asked) -> None:
    nat = MemoryDriver()
    client = ask(nat)
    assert asked.hosts == ["a.test"]
    asked.answer("192.0.2.7")
    nat.settle()
    assert (client.hears(), client.end) == (b"\x05\x00\x00\x01\xc0\x00\x02\x07\x00\x00", "fin")
    assert not nat.driver.flows
    told = nat.fields("name-resolved")
    assert (told["name"], told["answer"], told["failure"]) == ("a.test", "192.0.2.7", None)
    assert asked.abandoned == 0
    assert nat.told() == ["name-resolved", "fin-sent", "flow-ended"], "it was no flow to anywhere"
    ended = nat.fields("flow-ended")
    assert (ended["because"], ended["destination"]) == ("answered", None)
    assert (ended["internal"], ended["internal_because"], ended["external"]) == ("fin", "answered", None)
    assert nat.driver.totals.ended_by == {"answered": 1}


def test_a_failure_is_answered_in_the_protocols_words(asked: Asked) -> None:
    nat = MemoryDriver()
    client = ask(nat)
    asked.answer(DialFailure(FailureKind.NOT_RESOLVED, "a.test"))
    nat.settle()
    assert client.hears()[:2] == b"\x05\x04"
    assert client.end == "fin"
    told = nat.fields("name-resolved")
    assert (told["answer"], told["failure"]) == (None, FailureKind.NOT_RESOLVED.value)
    ended = nat.fields("flow-ended")
    assert (ended["because"], ended["internal"], ended["internal_because"]) == ("destination", "fin", "destination")


def test_a_client_that_resets_gives_its_question_up(asked: Asked) -> None:
    nat = MemoryDriver()
    ask(nat).resets()
    nat.settle()
    assert asked.abandoned == 1
    assert not nat.driver.flows
    ended = nat.fields("flow-ended")
    assert (ended["because"], ended["internal"], ended["internal_because"]) == ("internal-peer", "rst", "peer")


def test_a_client_that_has_sent_a_fin_is_answered(asked: Asked) -> None:
    nat = MemoryDriver()
    client = ask(nat)
    client.finishes()
    nat.settle()
    assert asked.abandoned == 0
    asked.answer("192.0.2.7")
    nat.settle()
    assert client.hears()[:4] == b"\x05\x00\x00\x01"


def test_a_client_that_is_frozen_is_not_read_until_it_is_thawed(asked: Asked) -> None:
    nat = MemoryDriver()
    client = ask(nat)
    nat.driver.freeze(Side.INTERNAL)
    client.resets()
    nat.settle()
    assert asked.abandoned == 0
    nat.driver.thaw(Side.INTERNAL)
    nat.settle()
    assert asked.abandoned == 1
