"""Three stories, each played by an app and a server of its own with a relay between them.

A story is a generator: it yields a beat for whatever is done or seen, and returns the outcome. The same story is played
through two relays in step, so it yields the same kinds of beat in the same order whatever happens; only the words
differ. It learns from outside alone what happened, as an app and a server do; the relay's event log is not asked.

What the outcome must be follows from the profile: from the settings of the quirk that the story is about.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from relay.demo import app
from relay.demo.origin import BusyServer, EchoServer
from relay.testing import RunningRelay

Who: TypeAlias = Literal["", "app", "server"]


@dataclass(frozen=True, slots=True)
class Beat:
    """Something that is done, or that the app or the server sees."""

    who: Who
    """Who sees it; empty for what is done, which is the same through every relay."""
    text: str
    final: bool = False
    """Whether nothing more can happen to this app."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a story comes to, in words that are the same each time."""

    app: str
    server: str

    def __str__(self) -> str:
        return f"app: {self.app}; server: {self.server}"


Script: TypeAlias = Generator[Beat, "bool | None", Outcome]
"""What is sent in after a beat is whether any of the apps that play the story has come to its end."""
Settings: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Story:
    """A story and the quirk that it shows."""

    name: str
    title: str
    moral: str
    """What an app behind the NAT must expect."""
    quirk: str
    play: Callable[[RunningRelay], Script]
    promise: Callable[[Settings | None], Outcome]
    """What must come out, by the settings of the quirk; None: the profile has no such quirk."""


_TOS = 0x48  # AF21: what OpenSSH 7.8 marked an interactive session with


def tos_change(nat: RunningRelay) -> Script:
    """The app marks its packets after it has connected, as ssh does."""
    with EchoServer() as server, app.connect(nat, server.port) as sock:
        server.accept()
        yield Beat("", 'The app connects with TOS 0x00 and says "one".')
        sock.sendall(b"one")
        yield Beat("app", f"hears {app.hear(sock)}")
        yield Beat("", f'It sets TOS 0x{_TOS:02x} on its socket: precedence 2, not 0. It says "two".')
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, _TOS)
        sock.sendall(b"two")
        heard, heard_at_s = app.hear(sock), time.monotonic()
        yield Beat("app", f"hears {heard}" if heard == '"two"' else heard, final=True)
        yield Beat("", "It closes its socket.")
        sock.close()
        visit = server.visit()
        later = f" {(visit.at_s - heard_at_s) * 1000:.0f} ms later" if heard == "ECONNRESET" else ""
        yield Beat("server", f"hears {visit}{later}")
        return Outcome(app=heard, server=str(visit))


def _promise_of_tos_change(settings: Settings | None) -> Outcome:
    if settings is not None and settings["mask"] & _TOS:
        return Outcome(app="ECONNRESET", server='"one", FIN')
    return Outcome(app='"two"', server='"one", "two", FIN')


_IDLE_S, _INTERVAL_S, _PROBES = 1, 1, 2  # the least a kernel takes
_OWN_LIMIT_S = _IDLE_S + _INTERVAL_S * _PROBES
_HELD_S = 2 * _OWN_LIMIT_S  # up for this long after the server fell silent: the app's keepalive has failed it
_WAIT_AT_MOST_S = 10  # ... but it has the relay's own probes to wait for: found dead after 7 s, at times 8


def dead_server(nat: RunningRelay) -> Script:
    """The server falls silent for good, and the app relies on TCP keepalive to notice."""
    with EchoServer() as server, app.connect(nat, server.port) as sock:
        server.accept()
        yield Beat(
            "",
            f'The app says "one" and relies on keepalive: a probe after {_IDLE_S} s of silence, one every '
            f"{_INTERVAL_S} s, {_PROBES} unanswered are the end.",
        )
        app.keep_alive(sock, idle_s=_IDLE_S, interval_s=_INTERVAL_S, count=_PROBES)
        sock.sendall(b"one")
        yield Beat("app", f"hears {app.hear(sock)}")
        server.wait_until_heard()
        nat.freeze("external")
        try:
            silent_at_s, segments_before = time.monotonic(), server.segments_in()
            yield Beat("", "The server falls silent: from now on nothing that it sends arrives.")
            fate = yield from _wait_for_the_end(sock, silent_at_s)
            segments = server.segments_in() - segments_before
            yield Beat("server", f"hears {segments} segments without data" if segments else "hears not one segment")
        finally:
            nat.thaw("external")
        found_dead = fate in ("ETIMEDOUT", "ECONNRESET")  # a reset, where the relay cannot fall silent itself
        return Outcome(
            app="found dead" if found_dead else fate or "still up", server="probed" if segments else "not probed"
        )


def _wait_for_the_end(sock: socket.socket, silent_at_s: float) -> Generator[Beat, bool | None, str]:
    fate, somebody_ended = "", None
    for second in range(1, _WAIT_AT_MOST_S):
        if not fate:
            # Looked at between two probes: those go out on the second.
            fate = app.fate_until(sock, silent_at_s + second + 0.5)
            text = f"{fate} after {time.monotonic() - silent_at_s:.1f} s" if fate else _up(sock)
        else:
            text = "over"
        somebody_ended = yield Beat("app", text, final=bool(fate))
        if somebody_ended and second >= _HELD_S:
            break
    return fate


def _up(sock: socket.socket) -> str:
    unanswered = app.unanswered_probes(sock)
    return f"up, {unanswered} unanswered" if unanswered else "up, its probe was answered"


def _promise_of_dead_server(settings: Settings | None) -> Outcome:
    if settings is not None and settings["answered_by"] == "server":
        return Outcome(app="found dead", server="probed")
    return Outcome(app="still up", server="not probed")


_PATIENCE_S = 0.3
_CALLS_WITHIN_S = 2.0  # the dial's SYN is repeated 1 s after the first, RFC 6298 section 2.1


def abandoned_handshake(nat: RunningRelay) -> Script:
    """The app gives up while its connection is still being made."""
    with BusyServer() as server:
        yield Beat("", "The server's backlog is full: it answers no SYN. The app connects.")
        with app.ask(nat, server.port) as sock:
            answered = app.fate_until(sock, time.monotonic() + _PATIENCE_S)
            app.give_up(sock)
        gave_up = f"gives up after {_PATIENCE_S:g} s"
        yield Beat("app", f"is answered: {answered}" if answered else gave_up, final=True)
        server.recover()
        recovered_at_s = time.monotonic()
        yield Beat("", "The app is gone. Now the server recovers, and accepts again.")
        visit = server.visit(_CALLS_WITHIN_S)
        if visit is None:
            yield Beat("server", f"no connection within {_CALLS_WITHIN_S:g} s")
        else:
            yield Beat("server", f"a connection {visit.at_s - recovered_at_s:.1f} s later: {visit}")
        return Outcome(
            app="answered" if answered else "gave up", server=f"a call: {visit}" if visit is not None else "no call"
        )


def _promise_of_abandoned_handshake(settings: Settings | None) -> Outcome:
    crosses = settings is not None and settings["order"] == "external-first"
    return Outcome(app="gave up", server="a call: FIN" if crosses else "no call")


STORIES = (
    Story(
        "tos-change",
        "the app marks its packets after connecting, as ssh and git do",
        "behind VMware a session dies of a mark on its packets.",
        "tos-reset",
        tos_change,
        _promise_of_tos_change,
    ),
    Story(
        "dead-server",
        "TCP keepalive, and a server that is gone",
        "behind VMware keepalive finds no server dead; a heartbeat of the app's own would.",
        "local-keepalive",
        dead_server,
        _promise_of_dead_server,
    ),
    Story(
        "abandoned-handshake",
        "the app gives up before it is connected",
        "behind VMware a server gets connections from apps that are gone.",
        "precomplete-handshake",
        abandoned_handshake,
        _promise_of_abandoned_handshake,
    ),
)
