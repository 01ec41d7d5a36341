"""Whether bytes arrive as they were sent, whatever the shape is and however the connection ends.

A shape is set on both directions by a command. Then connections carry random bytes, and what arrives is compared by its
SHA-256 with what was sent:

    half-close      the app sends and half-closes; the server answers once it has all, and closes
    both at once    both send at once, and each half-closes
    reset           the server resets while it sends: the app gets a beginning of what was sent, then ECONNRESET
    live changes    both at once, while the shape changes over and over
"""

from __future__ import annotations

import hashlib
import http.client
import itertools
import json
import random
import socket
import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, TypeAlias

Shape: TypeAlias = Mapping[str, float | bool]
SHAPES: Mapping[str, Shape] = {
    "none": {},
    "latency": {"delay_s": 0.02},
    "jitter": {"delay_s": 0.02, "jitter_s": 0.02},
    "bandwidth": {"rate_bytes_per_s": 20e6},
    "slices": {"slice_bytes": 1000},
    "slices with pauses": {"slice_bytes": 20_000, "slice_delay_s": 0.001},
    "slow close": {"end_delay_s": 0.05},
    "all of them": {
        "delay_s": 0.01,
        "jitter_s": 0.005,
        "rate_bytes_per_s": 40e6,
        "slice_bytes": 30_000,
        "slice_delay_s": 0.0005,
        "end_delay_s": 0.02,
    },
}
"""By name: the fields of the command `set-fault`."""
_STALL: Shape = {"stall": True}
_DEADLINE_S = 60
_READ_BYTES = 1 << 16
_FAULT = "bench"
_SIDES = ("app", "server")


class NotIntact(Exception):
    """What arrived is not what was sent; the text says how."""


@dataclass(frozen=True)
class Control:
    """A relay's control, on loopback."""

    port: int

    def command(self, name: str, fields: Mapping[str, Any]) -> Any:
        """Have a command carried out.

        Raises:
            RuntimeError: it is refused.
        """
        return self.ask("POST", f"/relay/v1/commands/{name}", fields)["result"]

    def ask(self, method: str, path: str, fields: Mapping[str, Any]) -> Any:
        """Send one request."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=_DEADLINE_S)
        try:
            connection.request(method, path, json.dumps(fields), {"Content-Type": "application/json"})
            response = connection.getresponse()
            body = response.read()
            if response.status >= 400:
                raise RuntimeError(f"{method} {path}: {body.decode()}")
            return json.loads(body or "null")
        finally:
            connection.close()

    def shape(self, shape: Shape) -> None:
        """Have both directions of all flows sent so."""
        for side in _SIDES:
            if shape:
                self.command("set-fault", {"name": f"{_FAULT} {side}", "side": side, **shape})
            else:
                self.command("lift-fault", {"name": f"{_FAULT} {side}"})


def check_all(control: Control, size: int, seed: int = 7) -> Iterator[tuple[str, str, str]]:
    """Each shape with each end: its name, the end's, and what is wrong; empty if nothing is."""
    chance = random.Random(seed)  # noqa: S311 - it is to be the same again
    for name, shape in SHAPES.items():
        control.shape(shape)
        for end, check in _ENDS.items():
            try:
                with _Connection(control) as connection:
                    check(connection, chance.randbytes(size), chance.randbytes(size + 1))
            except (NotIntact, OSError) as error:
                yield name, end, str(error) or type(error).__name__
            else:
                yield name, end, ""
            control.shape(shape)
    control.shape({})


class _Connection(ExitStack):
    """One connection through the relay: `app` and `server` are its ends."""

    app: socket.socket
    server: socket.socket

    def __init__(self, control: Control) -> None:
        super().__init__()
        self.control = control

    def __enter__(self) -> _Connection:
        super().__enter__()
        try:
            listener = self.enter_context(socket.create_server(("127.0.0.1", 0)))
            target = f"127.0.0.1:{listener.getsockname()[1]}"
            listen = self.control.command("open-forward", {"target": target})
            self.callback(self.control.command, "close-forward", {"listen": listen})
            port = int(listen.rpartition(":")[2])
            self.app = self.enter_context(socket.create_connection(("127.0.0.1", port), _DEADLINE_S))
            listener.settimeout(_DEADLINE_S)
            self.server = self.enter_context(listener.accept()[0])
            self.server.settimeout(_DEADLINE_S)
        except BaseException:
            self.close()
            raise
        return self


def _half_close(connection: _Connection, up: bytes, down: bytes) -> None:
    app, server = connection.app, connection.server
    with ThreadPoolExecutor(2) as threads:
        got_up = threads.submit(_received, server)
        app.sendall(up)
        app.shutdown(socket.SHUT_WR)
        _compare(got_up.result(), up)
        got_down = threads.submit(_received, app)
        server.sendall(down)
        server.shutdown(socket.SHUT_WR)
        _compare(got_down.result(), down)


def _both_at_once(connection: _Connection, up: bytes, down: bytes) -> None:
    app, server = connection.app, connection.server
    with ThreadPoolExecutor(4) as threads:
        got = [threads.submit(_received, end) for end in (server, app)]
        sent = [threads.submit(_send_all, end, data) for end, data in ((app, up), (server, down))]
        for future, data in zip(got, (up, down), strict=True):
            _compare(future.result(), data)
        for each in sent:
            each.result()


def _reset(connection: _Connection, up: bytes, down: bytes) -> None:
    app, server = connection.app, connection.server
    with ThreadPoolExecutor(1) as threads:
        got = threads.submit(_received_until_reset, app)
        server.sendall(down[: len(down) // 2])
        server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        server.close()
        received = got.result()
        _compare(received, down[: len(received)])


def _live_changes(connection: _Connection, up: bytes, down: bytes) -> None:
    over = threading.Event()

    def change() -> None:
        for shape in itertools.cycle([*SHAPES.values(), _STALL]):
            connection.control.shape(shape)
            if over.wait(0.005):
                return

    changing = threading.Thread(target=change)
    changing.start()
    try:
        _both_at_once(connection, up, down)
    finally:
        over.set()
        changing.join()


_ENDS: Mapping[str, Callable[[_Connection, bytes, bytes], None]] = {
    "half-close": _half_close,
    "both at once": _both_at_once,
    "reset": _reset,
    "live changes": _live_changes,
}


def _send_all(end: socket.socket, data: bytes) -> None:
    end.sendall(data)
    end.shutdown(socket.SHUT_WR)


def _received(end: socket.socket) -> bytes:
    data = bytearray()
    while piece := end.recv(_READ_BYTES):
        data += piece
    return bytes(data)


def _received_until_reset(end: socket.socket) -> bytes:
    data = bytearray()
    try:
        while piece := end.recv(_READ_BYTES):
            data += piece
    except ConnectionResetError:
        return bytes(data)
    raise NotIntact("a reset came as a FIN")


def _compare(got: bytes, sent: bytes) -> None:
    if len(got) != len(sent):
        raise NotIntact(f"{len(got)} of {len(sent)} bytes arrived")
    if hashlib.sha256(got).digest() != hashlib.sha256(sent).digest():
        raise NotIntact(f"{len(sent)} bytes arrived, and some are others")
