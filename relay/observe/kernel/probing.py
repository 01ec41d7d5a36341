"""Whether a peer answers a keepalive probe that the relay has its kernel send (Linux).

The kernel sends one when TCP_KEEPIDLE is set on a socket with SO_KEEPALIVE, once nothing has come for so long: a second
at the least. Whatever then comes raises the socket's count of segments, and shows that the peer is there. The count is
looked at after 2 ms, 4 ms, and so on, so an answer is seen after at most twice as long as it took, and at most 50 ms
late. Afterwards the socket's own keepalive settings are what they were.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import NamedTuple

from relay.clock import real_s
from relay.observe.kernel.host import Host
from relay.observe.kernel.tcp_info import received_segments

_FIRST_LOOK_S, _LATE_S = 0.002, 0.05
_AWAITED_S = 75.0  # the usual interval of probes
_TCP_SETTINGS = ("TCP_KEEPCNT", "TCP_KEEPINTVL", "TCP_KEEPIDLE")  # which not every system has


class Probing:
    """The peers that are asked."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._asked: dict[socket.socket, _Question] = {}

    def ask(self, sock: socket.socket, answered: Callable[[], None]) -> None:
        """Have one probe sent. `answered` is called once, later; a peer that is asked again meanwhile answers for both.

        Raises:
            OSError: the socket is closed.
        """
        question = self._asked.get(sock)
        if question is None:
            question = self._asked[sock] = _Question(sock)
            self._look_later(question, _FIRST_LOOK_S)
        question.put(answered)

    def close(self) -> None:
        """Look for no answer any more."""
        self._asked.clear()

    def _look_later(self, question: _Question, delay_s: float) -> None:
        self._host.call_later(delay_s, lambda: self._look(question, delay_s))

    def _look(self, question: _Question, delay_s: float) -> None:
        if self._asked.get(question.sock) is not question:
            return
        try:
            over = question.look()
        except OSError:  # closed under us
            over = True
        if over:
            del self._asked[question.sock]
        else:
            self._look_later(question, min(2 * delay_s, _LATE_S))


class _Settings(NamedTuple):
    """A socket's keepalive: whether it is on, and its settings. The last one has a probe sent, if one is due."""

    on: int
    most: int
    interval_s: int
    idle_s: int

    @classmethod
    def of(cls, sock: socket.socket) -> _Settings:
        on = sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        return cls(on, *(sock.getsockopt(socket.IPPROTO_TCP, getattr(socket, name)) for name in _TCP_SETTINGS))

    def set_on(self, sock: socket.socket) -> None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, self.on)
        for name, value in zip(_TCP_SETTINGS, self[1:], strict=True):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


_ONE_PROBE = _Settings(on=1, most=127, interval_s=32_767, idle_s=1)  # and unanswered ones do not end the connection


class _Question:
    """One peer that is asked."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._segments = received_segments(sock)
        self._settings = _Settings.of(sock)

    def put(self, answered: Callable[[], None]) -> None:
        """Have the kernel send one probe."""
        self._answered = answered
        self._until_s = real_s() + _AWAITED_S
        _ONE_PROBE.set_on(self.sock)

    def look(self) -> bool:
        """See whether it has answered, and tell; returns whether there is nothing more to look for.

        Raises:
            OSError: the socket is closed.
        """
        has_answered = received_segments(self.sock) != self._segments
        over = has_answered or real_s() > self._until_s
        if over:
            self._settings.set_on(self.sock)
        if has_answered:
            self._answered()
        return over
