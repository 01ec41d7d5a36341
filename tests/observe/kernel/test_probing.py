"""A kernel's keepalive probe, on demand: a peer's answer is seen soon, a dead peer's never."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator

import pytest

from observe.conftest import Connect, EpollHost
from relay.observe.kernel.bpf import drop, program
from relay.observe.kernel.probing import Probing
from support.capabilities import missing

pytestmark = pytest.mark.system

_SO_ATTACH_FILTER, _SO_DETACH_FILTER = 26, 27  # asm-generic/socket.h
_DROP_EVERYTHING = program(drop())
_SILENT_S = 1.05  # longer than a kernel waits


@pytest.fixture
def probing(host: EpollHost) -> Iterator[Probing]:
    if sys.platform != "linux":
        missing("the counters are Linux's")
    it = Probing(host)
    yield it
    it.close()


def test_an_answer_is_seen_once_and_soon(probing: Probing, host: EpollHost, connect: Connect) -> None:
    _, asked = connect()
    host.run_for(_SILENT_S)
    answers: list[int] = []
    probing.ask(asked, lambda: answers.append(1))
    assert host.run_until(lambda: bool(answers), 0.5)
    host.run_for(0.2)
    assert answers == [1]
    assert host.pending == 0
    assert asked.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 0


def test_a_dead_peer_does_not_answer_until_it_is_back(probing: Probing, host: EpollHost, connect: Connect) -> None:
    """Each question is one probe; none of them ends the connection."""
    peer, asked = connect()
    host.run_for(_SILENT_S)
    peer.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, _DROP_EVERYTHING.fprog)
    answers: list[str] = []
    for _ in range(4):
        probing.ask(asked, lambda: answers.append("too early"))
        host.run_for(0.3)
    assert not answers
    peer.setsockopt(socket.SOL_SOCKET, _SO_DETACH_FILTER, 0)
    host.run_for(0.2)
    assert not answers, "nothing was asked since it is back"
    probing.ask(asked, lambda: answers.append("back"))
    assert host.run_until(lambda: bool(answers), 0.5)
    assert answers == ["back"]
    assert asked.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0


def test_keepalive_that_was_on_goes_on_as_it_was(probing: Probing, host: EpollHost, connect: Connect) -> None:
    _, asked = connect()
    asked.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    own = {socket.TCP_KEEPIDLE: 75, socket.TCP_KEEPINTVL: 30, socket.TCP_KEEPCNT: 9}
    for name, value in own.items():
        asked.setsockopt(socket.IPPROTO_TCP, name, value)
    host.run_for(_SILENT_S)
    answers: list[int] = []
    probing.ask(asked, lambda: answers.append(1))
    assert host.run_until(lambda: bool(answers), 0.5)
    assert asked.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
    assert {name: asked.getsockopt(socket.IPPROTO_TCP, name) for name in own} == own


def test_a_socket_that_is_closed_meanwhile_is_let_go(probing: Probing, host: EpollHost, connect: Connect) -> None:
    peer, asked = connect()
    peer.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, _DROP_EVERYTHING.fprog)
    probing.ask(asked, lambda: pytest.fail("a closed socket has no peer"))
    asked.close()
    host.run_for(0.1)
    assert host.pending == 0
    with pytest.raises(OSError, match="Bad file descriptor"):
        probing.ask(asked, lambda: None)


def test_who_waits_no_longer_is_not_called(probing: Probing, host: EpollHost, connect: Connect) -> None:
    _, asked = connect()
    host.run_for(_SILENT_S)
    probing.ask(asked, lambda: pytest.fail("too late"))
    probing.close()
    host.run_for(0.1)
    assert host.pending == 0


def test_a_question_is_given_up_in_the_end(
    probing: Probing, host: EpollHost, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relay.observe.kernel.probing._AWAITED_S", 0.2)
    peer, asked = connect()
    peer.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, _DROP_EVERYTHING.fprog)
    probing.ask(asked, lambda: pytest.fail("a dead peer has answered"))
    host.run_for(0.4)
    assert host.pending == 0
    assert asked.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 0
