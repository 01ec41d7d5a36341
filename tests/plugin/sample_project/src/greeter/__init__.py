"""A service that greets a client by the name that it sends, and clients of it: blocking, asyncio and anyio."""

from __future__ import annotations

import asyncio
import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import anyio


class _Greet(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        try:
            for line in self.rfile:
                self.wfile.write(b"hello " + line)
        except ConnectionError:
            pass


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = False


@contextmanager
def serve() -> Iterator[tuple[str, int]]:
    """Greet on a loopback port."""
    with _Server(("127.0.0.1", 0), _Greet) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            host, port = server.server_address[:2]
            yield str(host), port
        finally:
            server.shutdown()
            thread.join()


class Client:
    """A blocking client."""

    def __init__(self, host: str, port: int) -> None:
        self._socket = socket.create_connection((host, port), timeout=10)
        self._lines = self._socket.makefile("rb")

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self._lines.close()
        self._socket.close()

    def mark(self, tos: int) -> None:
        """Ask for another class of service from now on."""
        self._socket.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, tos)

    def greet(self, name: str) -> str:
        """Say a name and hear the greeting."""
        self._socket.sendall(f"{name}\n".encode())
        line = self._lines.readline()
        if not line:
            raise ConnectionError("the server hung up")
        return line.decode().rstrip("\n")


async def greet_on_asyncio(host: str, port: int, name: str, *, tos: int | None = None) -> str:
    """The same once, by asyncio's streams."""
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(b"anonymous\n")
        await reader.readline()
        if tos is not None:
            writer.get_extra_info("socket").setsockopt(socket.IPPROTO_IP, socket.IP_TOS, tos)
        writer.write(f"{name}\n".encode())
        return (await reader.readline()).decode().rstrip("\n")
    finally:
        writer.close()


async def greet_on_anyio(host: str, port: int, name: str, *, tos: int | None = None) -> str:
    """The same once, by anyio's streams."""
    async with await anyio.connect_tcp(host, port) as stream:
        await stream.send(b"anonymous\n")
        await stream.receive()
        if tos is not None:
            raw = stream.extra(anyio.abc.SocketAttribute.raw_socket)  # noqa: S610 - no database
            raw.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, tos)
        await stream.send(f"{name}\n".encode())
        return (await stream.receive()).decode().rstrip("\n")
