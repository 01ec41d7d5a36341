"""The host's sockets behind the guest's UDP: one for each mapping, not connected, with a port that the host picks."""

from __future__ import annotations

import socket
from collections import Counter
from functools import partial

from relay.address import Endpoint
from relay.loop.engine import Engine
from relay.wire.host.host_socket import HostSocket, SocketAddress
from relay.wire.host.outside import Outside, SendToGuest, number_of
from relay.wire.host.refusals import keep_refusals, take_refusals
from relay.wire.host.sweep import Sweep
from relay.wire.host.view import NO_VIEW, View
from relay.wire.mappings import Close, End, Open
from relay.wire.packet import UDP, Ipv4, Udp
from relay.wire.udp import Send, UdpNat


class UdpSockets:
    """Carries the guest's datagrams. What cannot be sent is lost, as on any way, and counted by reason."""

    def __init__(
        self,
        engine: Engine,
        nat: UdpNat,
        outside: Outside,
        send: SendToGuest,
        view: View = NO_VIEW,
        *,
        source: str | None = None,
    ) -> None:
        """`view` is shown what passes.

        `source` is the host's address to send from; without it the host's routes choose.
        """
        self.dropped: Counter[str] = Counter()
        self._engine = engine
        self._nat = nat
        self._outside = outside
        self._send = send
        self._view = view
        self._source = source
        self._sockets: dict[End, HostSocket] = {}
        self._sweep = Sweep(engine, nat, self._close)

    def on_datagram(self, ip: Ipv4, udp: Udp) -> None:
        """The guest sends a datagram to another host."""
        for step in self._nat.on_datagram(ip, udp, self._engine.nat.now_s()):
            match step:
                case Send():
                    self._send_out(step)
                case Open(end):
                    self._open(end)
                case Close(end):
                    self._close(end)
        self._sweep.arm()

    def close(self) -> None:
        """Close every socket; harmless when repeated."""
        self._sweep.stop()
        for end in list(self._sockets):
            self._close(end)

    def _open(self, end: End) -> None:
        try:
            opened = HostSocket(
                self._engine,
                socket.AF_INET,
                socket.SOCK_DGRAM,
                0,
                partial(self._on_reply, end),
                lambda error: self._on_error(end),
            )
        except OSError as error:
            self._on_failed(end, error)
            return
        try:
            opened.sock.bind((self._source or "", 0))
            if self._nat.wants_refusals:
                keep_refusals(opened.sock)
        except OSError as error:
            opened.close()
            self._on_failed(end, error)
            return
        self._sockets[end] = opened
        self._view.begin(UDP, end)
        opened.watch()

    def _close(self, end: End) -> None:
        if (opened := self._sockets.pop(end, None)) is not None:
            opened.close()

    def _send_out(self, step: Send) -> None:
        opened = self._sockets.get(step.end)
        if opened is None:
            return  # it could not be opened, which is counted
        target = self._outside.translated(step.destination, step.port)
        try:
            opened.sock.sendto(step.payload, target)
        except OSError:
            # The error may be an earlier datagram's; a socket reports it once.
            self._on_error(step.end)
            try:
                opened.sock.sendto(step.payload, target)
            except OSError as error:
                self._drop(error)
                return
        self._view.show(UDP, step.end, opened.sock, target, step.payload, True)

    def _on_reply(self, end: End, payload: memoryview, address: SocketAddress) -> None:
        self._view.show(UDP, end, self._sockets[end].sock, Endpoint(*address[:2]), payload, False)
        source = self._outside.seen_as(number_of(address[0]))
        if source is None:
            self.dropped["from the host's loopback"] += 1
            return
        packet = self._nat.on_reply(end, source, address[1], payload, self._engine.nat.now_s())
        if packet is not None:
            self._send(*packet)

    def _on_error(self, end: End) -> None:
        opened = self._sockets.get(end)
        for refusal in take_refusals(opened.sock) if opened is not None else ():
            destination = self._outside.seen_as(number_of(refusal.host))
            if destination is not None:
                packet = self._nat.on_refused(end, destination, refusal.port, refusal.size_bytes)
                if packet is not None:
                    self._send(*packet)

    def _on_failed(self, end: End, error: OSError) -> None:
        self._nat.on_failed(end)
        self._drop(error)

    def _drop(self, error: OSError) -> None:
        self.dropped[(error.strerror or "not sent").lower()] += 1
