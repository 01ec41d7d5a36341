"""Origin servers: real sockets on loopback, one thread for each connection, a handler that says what to do."""

from __future__ import annotations

import contextlib
import queue
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import TracebackType

from relay.net.queues import unsent_bytes

Handler = Callable[[socket.socket], None]


class Origin:
    """Listens on loopback while its block lasts; each connection is handled in a thread of its own.

    Port 0 picks one.
    """

    def __init__(self, handler: Handler, host: str = "127.0.0.1", port: int = 0) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._handler = handler
        self._listener = socket.create_server((host, port), family=family, backlog=512)
        self._listener.settimeout(0.05)
        self._threads: list[threading.Thread] = []
        self._open: set[socket.socket] = set()
        self._closing = threading.Event()
        self.host = host
        self.port: int = self._listener.getsockname()[1]
        self.accepted = 0
        """How many connections were accepted."""
        self.faults: list[Exception] = []
        """What handlers raised, connection errors apart."""

    @property
    def target(self) -> str:
        """HOST:PORT, as a forward wants it."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def __enter__(self) -> Origin:
        self._start(self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.set()
        with contextlib.suppress(OSError):  # not every system lets a listener be shut down; there accept times out
            self._listener.shutdown(socket.SHUT_RDWR)
        for connection in list(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive(), "an origin's handler does not end"
        self._listener.close()
        assert not self.faults, self.faults

    def _start(self, function: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=function, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._closing.is_set():
            try:
                connection, _ = self._listener.accept()
            except TimeoutError:
                continue
            except OSError:
                if self._closing.is_set():
                    return
                raise
            connection.settimeout(60)
            self.accepted += 1
            self._open.add(connection)
            self._start(self._handle, connection)

    def _handle(self, connection: socket.socket) -> None:
        try:
            with connection:
                self._handler(connection)
        except ConnectionError:
            pass  # a client's reset is a thing that tests ask for
        except Exception as fault:
            if not self._closing.is_set():
                self.faults.append(fault)
        finally:
            self._open.discard(connection)


def echo(connection: socket.socket) -> None:
    """Send back whatever comes, until the client's FIN."""
    while data := connection.recv(65536):
        connection.sendall(data)


@dataclass(frozen=True)
class Received:
    """What came over a connection, and whether a `fin` or an `rst` ended it."""

    data: bytes
    how: str


class Recorder:
    """An echo that keeps what each connection brought: the handler of an `Origin`."""

    def __init__(self) -> None:
        self._received: queue.SimpleQueue[Received] = queue.SimpleQueue()

    def __call__(self, connection: socket.socket) -> None:
        data = b""
        try:
            while chunk := connection.recv(65536):
                data += chunk
                connection.sendall(chunk)
        except ConnectionResetError:
            self._received.put(Received(data, "rst"))
        else:
            self._received.put(Received(data, "fin"))

    def take(self, count: int = 1, timeout_s: float = 60.0) -> list[Received]:
        """The next so many connections that ended, in that order, once they have."""
        return [self._received.get(timeout=timeout_s) for _ in range(count)]


def read_to_end(connection: socket.socket) -> bytes:
    """Everything up to the peer's FIN."""
    chunks = []
    while data := connection.recv(65536):
        chunks.append(data)
    return b"".join(chunks)


def read_until_over(connection: socket.socket) -> tuple[bytes, str]:
    """Everything up to the peer's FIN or RST, and which of the two it was."""
    data = bytearray()
    try:
        while chunk := connection.recv(65536):
            data += chunk
    except ConnectionResetError:
        return bytes(data), "rst"
    return bytes(data), "fin"


def read_exactly(connection: socket.socket, count: int) -> bytes:
    """So many bytes; fewer are an AssertionError."""
    data = b""
    while len(data) < count:
        chunk = connection.recv(count - len(data))
        assert chunk, f"the connection ended after {len(data)} of {count} bytes"
        data += chunk
    return data


def reset(connection: socket.socket) -> None:
    """Close with a RST."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def wait_until_acknowledged(connection: socket.socket, timeout_s: float = 60.0) -> None:
    """Until the peer's kernel has everything that was sent: what it has not, a RST takes back."""
    deadline_s = time.monotonic() + timeout_s
    while unsent_bytes(connection):
        assert time.monotonic() < deadline_s, f"{unsent_bytes(connection)} bytes are not acknowledged"
        time.sleep(0.001)  # a send queue cannot be waited on


@contextlib.contextmanager
def refusing_port(host: str = "127.0.0.1") -> Iterator[int]:
    """A port without a listener, now and later: it is bound."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as holder:
        holder.bind((host, 0))
        yield holder.getsockname()[1]


@contextlib.contextmanager
def black_hole() -> Iterator[int]:
    """A loopback port that answers no SYN: its listener's backlog is full."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


@contextlib.contextmanager
def held_connections() -> Iterator[tuple[Origin, queue.Queue[socket.socket]]]:
    """An origin that echoes one byte, and hands its connections over."""
    accepted, over = queue.Queue[socket.socket](), threading.Event()

    def handle(connection: socket.socket) -> None:
        connection.sendall(connection.recv(1))
        accepted.put(connection)
        over.wait(60)

    with Origin(handle) as origin:
        try:
            yield origin, accepted
        finally:
            over.set()
