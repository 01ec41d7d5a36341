"""A name server on loopback, over UDP and TCP on one port, that answers as a test wants it to."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Callable
from functools import cache
from types import TracebackType
from typing import Any, TypeAlias

import dns.flags
import dns.message
import dns.rrset

from relay.address import Endpoint

Reply: TypeAlias = Callable[[dns.message.Message], bytes | None]
"""Makes a reply to a query; None is silence."""

_ATTEMPTS = 20


def records(*lines: str) -> Reply:
    """Replies of the records that a query's name and type have among these lines: `NAME TYPE DATA`."""

    @cache
    def zone() -> list[dns.rrset.RRset]:
        split = [line.split(maxsplit=2) for line in lines]
        return [dns.rrset.from_text(f"{name}.", 60, "IN", kind, data) for name, kind, data in split]

    def reply(query: dns.message.Message) -> bytes:
        response = dns.message.make_response(query)
        response.flags |= dns.flags.RA
        (question,) = query.question
        response.answer = [each for each in zone() if (each.name, each.rdtype) == (question.name, question.rdtype)]
        return response.to_wire(max_size=0xFFFF)

    return reply


def silence(query: dns.message.Message) -> None:
    """Never replies."""


class DnsServer:
    """Serves as long as its block lasts."""

    def __init__(self, reply: Reply, *, udp_bytes: int = 4096) -> None:
        """Truncate replies over UDP that have more than `udp_bytes`."""
        self.queries: list[tuple[str, bytes]] = []
        """Each query as it came, and whether over udp or tcp."""
        self._reply = reply
        self._udp_bytes = udp_bytes
        self._udp, self._tcp = self._bind()
        self._threads = [
            threading.Thread(target=server.serve_forever, args=(0.02,)) for server in (self._udp, self._tcp)
        ]

    @property
    def endpoint(self) -> Endpoint:
        return Endpoint(*self._udp.server_address[:2])  # type: ignore[arg-type]

    def __enter__(self) -> DnsServer:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for server in (self._udp, self._tcp):
            server.shutdown()
            server.server_close()
        for thread in self._threads:
            thread.join()

    def answer(self, data: bytes, way: str) -> bytes | None:
        """The reply to a query that came this way."""
        self.queries.append((way, data))
        reply = self._reply(dns.message.from_wire(data))
        if reply is not None and way == "udp" and len(reply) > self._udp_bytes:
            cut = dns.message.make_response(dns.message.from_wire(data))
            cut.flags |= dns.flags.TC
            return cut.to_wire()
        return reply

    def _bind(self) -> tuple[socketserver.UDPServer, socketserver.TCPServer]:
        owner = self

        class OverUdp(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                data, sock = self.request
                if (reply := owner.answer(data, "udp")) is not None:
                    sock.sendto(reply, self.client_address)

        class OverTcp(socketserver.StreamRequestHandler):
            disable_nagle_algorithm = True

            def handle(self) -> None:
                while len(head := self.rfile.read(2)) == 2:
                    reply = owner.answer(self.rfile.read(int.from_bytes(head)), "tcp")
                    if reply is None:
                        return  # hangs up
                    self.wfile.write(len(reply).to_bytes(2) + reply)

        for _ in range(_ATTEMPTS):
            udp = _LongUdp(("127.0.0.1", 0), OverUdp)
            try:
                return udp, _ManyTcp(udp.server_address, OverTcp)
            except OSError:  # another program has that port of TCP's
                udp.server_close()
        raise AssertionError("no port is free for both UDP and TCP")


class _LongUdp(socketserver.UDPServer):
    max_packet_size = 0xFFFF


class _ManyTcp(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # the client has gone
