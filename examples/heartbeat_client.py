"""Behind VMware's NAT a database driver that relies on TCP keepalive waits for ever; one with a heartbeat moves on.

Two clients of a line protocol (`QUERY text` is answered by `ROW text`, `PING` by `PONG`) ask something of a server that
has just frozen. The TCP keepalive of both is set to give up after 3 s, but it is the NAT that answers the probes. One
of them also pings a server that has been silent for half a second; two pings without an answer, and it hangs up,
connects anew, and asks again.

    python heartbeat_client.py

Takes 5 s. Works on every system, without root.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import socketserver
import threading
import time

from relay import RunningRelay, serve_in_thread

SILENT_S, PINGS = 0.5, 2
KEEPALIVE = {"TCP_KEEPIDLE": 1, "TCP_KEEPALIVE": 1, "TCP_KEEPINTVL": 1, "TCP_KEEPCNT": 2}  # macOS has the second
began_s = time.monotonic()


def tell(text: str) -> None:
    print(f"{time.monotonic() - began_s:4.1f} s  {text}", flush=True)


class Driver:
    """A connection to the server, and a new one when the old is found dead."""

    def __init__(self, name: str, address: tuple[str, int], *, heartbeat: bool) -> None:
        self.name, self._address, self._heartbeat = name, address, heartbeat

    async def connect(self) -> None:
        self._reader, self._writer = await asyncio.open_connection(*self._address)
        sock = self._writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in KEEPALIVE.items():
            if hasattr(socket, option):
                sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)

    async def close(self) -> None:
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()

    async def query(self, text: str) -> str:
        while True:
            self._writer.write(f"QUERY {text}\n".encode())
            try:
                return await self._row()
            except (OSError, EOFError) as error:
                tell(f"{self.name}: {error}, so it connects anew")
                await self.close()
                await self.connect()

    async def _row(self) -> str:
        pings = 0
        while True:
            try:
                async with asyncio.timeout(SILENT_S if self._heartbeat else None):
                    line = await self._reader.readuntil()
            except TimeoutError:
                if pings == PINGS:
                    raise TimeoutError(f"{PINGS} pings without an answer") from None
                pings += 1
                self._writer.write(b"PING\n")
                continue
            pings = 0
            if line.startswith(b"ROW "):
                return line[4:].decode().strip()


class Server(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):
            for line in self.rfile:
                self.wfile.write(b"PONG\n" if line == b"PING\n" else line.replace(b"QUERY", b"ROW"))


async def play(nat: RunningRelay, server_port: int) -> None:
    address = nat.forward("127.0.0.1", server_port)
    patient = Driver("with keepalive alone", address, heartbeat=False)
    lively = Driver("with a heartbeat", address, heartbeat=True)
    for driver in (patient, lively):
        await driver.connect()
        tell(f"{driver.name}: {await driver.query('one')}")

    nat.freeze("external")
    tell("the server freezes")
    queries = [asyncio.create_task(driver.query("two")) for driver in (patient, lively)]
    await asyncio.sleep(5)
    tell(f"{patient.name}: {'answered' if queries[0].done() else 'still waits, and sees nothing wrong'}")
    queries[0].cancel()

    nat.thaw("external")
    tell("the server is back")
    tell(f"{lively.name}: {await queries[1]}")
    for driver in (patient, lively):
        await driver.close()


def main() -> None:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Server) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,)).start()
        try:
            with serve_in_thread("vmware-fusion") as nat:
                asyncio.run(play(nat, server.server_address[1]))
        finally:
            server.shutdown()


if __name__ == "__main__":
    main()
