"""What an app and a server see of whatever stands between them: the same script for a real program and for a profile.

A `Way` leads from the app to two ports of the server's host: one where a server listens, and one where none does. Each
habit is a word, or a few: `nothing`, `fin`, `rst`, or bytes. A stated time is the least that a silence is watched for.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

LINGER_ZERO = struct.pack("ii", 1, 0)
SOON_S = 1.0
"""How long what comes at once may take, on a busy host."""


@dataclass(frozen=True)
class Way:
    """How the app reaches the server."""

    to_server: Callable[[], socket.socket]
    to_nothing: Callable[[], socket.socket]
    """Where the server's host has no listener."""


@dataclass
class Ends:
    """The two ends of one connection."""

    app: socket.socket
    server: socket.socket


@contextlib.contextmanager
def connected(way: Way, listener: socket.socket) -> Iterator[Ends]:
    """A connection that has carried a byte each way."""
    listener.settimeout(60)
    with way.to_server() as app:
        app.settimeout(60)
        app.sendall(b"?")
        server, _ = listener.accept()
        with server:
            server.settimeout(60)
            assert server.recv(1) == b"?"
            server.sendall(b"!")
            assert app.recv(1) == b"!"
            yield Ends(app, server)


def hears(end: socket.socket, within_s: float = SOON_S) -> str:
    """What a side that only waits gets."""
    end.settimeout(within_s)
    try:
        data = end.recv(100)
    except TimeoutError:
        return "nothing"
    except ConnectionResetError:
        return "rst"
    except OSError as fault:
        return type(fault).__name__ if type(fault) is not OSError else str(fault.strerror)
    return data.decode() if data else "fin"


REFUSED_S = 15.0
"""How long what is certain to come may take. A proxy tries again before it ends what it has accepted; HAProxy does,
three times."""


def on_writing(end: socket.socket) -> str:
    """What a side gets that sends a byte, and what a second byte meets where the first met nothing."""
    for _ in range(2):
        try:
            end.sendall(b"x")
        except OSError:
            return "rst"
        if (heard := hears(end)) != "nothing":
            break
    return heard


def refusal(way: Way, *, with_bytes: bool = False) -> str:
    """What a connect to a closed port comes to: `refused`, or what follows a connect that succeeded."""
    try:
        app = way.to_nothing()
    except ConnectionRefusedError:
        return "refused"
    except TimeoutError:
        return "nothing"
    with app:
        if with_bytes:
            with contextlib.suppress(OSError):
                app.sendall(b"x" * 100)
        return f"connected, {hears(app, REFUSED_S)}"


def reset(end: socket.socket) -> None:
    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_ZERO)
    end.close()


def of_resets(way: Way, listener: socket.socket) -> dict[str, str]:
    """What a reset of one side is to the other."""
    with connected(way, listener) as ends:
        reset(ends.app)
        to_server = hears(ends.server)
    with connected(way, listener) as ends:
        reset(ends.server)
        to_app = hears(ends.app)
    return {"app's RST": to_server, "server's RST": to_app}


def of_half_closes(way: Way, listener: socket.socket) -> dict[str, str]:
    """What the other side hears of a half-close, and whether the open direction still carries a byte."""
    found = {}
    for side in ("app's", "server's"):
        with connected(way, listener) as ends:
            closing, other = (ends.app, ends.server) if side == "app's" else (ends.server, ends.app)
            closing.shutdown(socket.SHUT_WR)
            heard = hears(other)
            other.sendall(b"y")
            found[f"{side} half-close"] = f"{heard}, then {hears(closing)}"
    return found


def of_idleness(way: Way, listener: socket.socket, wait_s: float, *, writer: str = "app") -> dict[str, str]:
    """What each side hears while it is silent for `wait_s`, then what a writer gets, and what the other side does."""
    with connected(way, listener) as ends:
        began = time.monotonic()
        found = {"app waits": hears(ends.app, wait_s)}
        found["server waits"] = hears(ends.server, max(began + wait_s - time.monotonic(), SOON_S))
        if found["app waits"] == found["server waits"] == "nothing":
            writing, other = (ends.app, ends.server) if writer == "app" else (ends.server, ends.app)
            found[f"{writer} writes"] = on_writing(writing)
            found["the other hears"] = hears(other)
    return found


def of_idle_limit(way: Way, listener: socket.socket, after_s: float, *, writer: str) -> dict[str, str]:
    """What becomes of an idle connection after `after_s`, and of one that the app's probes come to every second."""
    said = of_idleness(way, listener, after_s + 1.5, writer=writer)
    return {**said, "probes": of_keepalives(way, listener, after_s + 2.5)}


def of_keepalives(way: Way, listener: socket.socket, wait_s: float) -> str:
    """Whether probes every second keep a connection that is otherwise idle: `lives`, or what the app hears."""
    with connected(way, listener) as ends:
        ends.app.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in ((socket.TCP_KEEPIDLE, 1), (socket.TCP_KEEPINTVL, 1), (socket.TCP_KEEPCNT, 9)):
            ends.app.setsockopt(socket.IPPROTO_TCP, option, value)
        heard = hears(ends.app, wait_s)
        if heard != "nothing":
            return heard
        ends.app.sendall(b"x")
        return "lives" if hears(ends.server, REFUSED_S) == "x" else "dead"
