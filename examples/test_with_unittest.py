"""The relay in unittest, without pytest: is this client fit for VMware's guests?

    python -m unittest -v test_with_unittest

The client under test asks a server one question and, if it is reset before it has the answer, asks once more. Works
without root; the test that marks packets needs Linux, the others run on every system.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import socketserver
import sys
import threading
import unittest
from collections.abc import Callable

from relay import serve_in_thread


def ask(address: tuple[str, int], question: str, *, attempts: int = 2) -> str:
    """The client under test."""
    try:
        with socket.create_connection(address, timeout=5) as sock, sock.makefile("rw") as stream:
            print(question, file=stream, flush=True)
            return stream.readline().strip()
    except ConnectionError:
        if attempts == 1:
            raise
    return ask(address, question, attempts=attempts - 1)


class Server(socketserver.ThreadingTCPServer):
    """Answers in capitals; the first answers are preceded by a mishap each, if there are any."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Conversation)
        self.questions = 0
        self.mishaps: list[Callable[[], None]] = []


class Conversation(socketserver.StreamRequestHandler):
    server: Server

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):
            for line in self.rfile:
                self.server.questions += 1
                if self.server.mishaps:
                    self.server.mishaps.pop()()
                self.wfile.write(line.upper())


class BehindVmwaresNat(unittest.IsolatedAsyncioTestCase):
    def setUp(self) -> None:
        self.server = self.enterContext(Server())
        self.nat = self.enterContext(serve_in_thread("vmware-fusion"))
        self.address = self.nat.forward("127.0.0.1", self.server.server_address[1])
        threading.Thread(target=self.server.serve_forever, args=(0.05,)).start()
        self.addCleanup(self.server.shutdown)

    def test_a_reset_is_survived(self) -> None:
        self.server.mishaps = [self.nat.link_down]
        self.assertEqual(ask(self.address, "who is there?"), "WHO IS THERE?")
        self.assertEqual(self.server.questions, 2)
        self.nat.wait_for("flow-ended", because="link-down-reset")

    def test_two_resets_are_not(self) -> None:
        self.server.mishaps = [self.nat.link_down] * 2
        with self.assertRaises(ConnectionResetError):
            ask(self.address, "who is there?")

    @unittest.skipUnless(sys.platform == "linux", "another system tells no relay what a client has set")
    async def test_packets_must_not_be_marked_after_connecting(self) -> None:
        reader, writer = await asyncio.open_connection(*self.address)
        writer.write(b"before\n")
        self.assertEqual(await reader.readline(), b"BEFORE\n")
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_IP, socket.IP_TOS, 0x48)
        writer.write(b"after\n")
        with self.assertRaises(ConnectionResetError):
            await reader.readline()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        self.assertEqual(self.server.questions, 1, "what was marked never reached the server")


if __name__ == "__main__":
    unittest.main()
