"""The NAT's name server on the host's side: one socket for each question and the server that it is put to.

So the kernel gives each question a port of its own, which a forged answer would have to guess, and reports at once that
a server does not listen.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from functools import partial

from relay.address import Endpoint, ResolveOverride
from relay.legs import Leg
from relay.loop.engine import Engine
from relay.loop.timers import Timer
from relay.wire.dns.forwarder import Ask, Asker, Drop, Forwarder, Step, Tell
from relay.wire.dns.message import addresses_in, parse_query
from relay.wire.host.host_socket import HostSocket, SocketAddress
from relay.wire.host.name_settings import NameSettings
from relay.wire.host.name_stream import NameStream
from relay.wire.host.outside import SendToGuest
from relay.wire.host.view import NO_VIEW, View
from relay.wire.mappings import End
from relay.wire.packet import UDP, Ipv4, Udp, build_udp

PORT = 53


class NameServer:
    """Answers the guest at one address of the NAT's, over UDP and TCP."""

    def __init__(
        self,
        engine: Engine,
        address: int,
        settings: NameSettings,
        forwarder: Forwarder,
        send: SendToGuest,
        view: View = NO_VIEW,
    ) -> None:
        """`view` is shown what passes between servers and us, and each address that was answered with its name."""
        self._engine = engine
        self._address = address
        self._settings = settings
        self._forwarder = forwarder
        self._send = send
        self._view = view
        self._sockets: dict[int, dict[Endpoint, HostSocket]] = {}
        self._streams: set[NameStream] = set()
        self._timer: Timer | None = None

    def on_datagram(self, ip: Ipv4, udp: Udp) -> None:
        """The guest asks over UDP, at port 53."""
        asker, message = Asker(ip.source, udp.source_port), bytes(udp.payload)
        query = parse_query(message)
        if query is None:
            return
        self._view.begin(UDP, End(*asker))
        if (reply := self._settings.reply(query, message)) is not None:
            self._tell(asker, reply)
        else:
            servers = self._settings.servers()
            self._perform(self._forwarder.ask(asker, message, servers, self._engine.now_s()))

    def serve(self, leg: Leg, end: End) -> None:
        """The guest asks over TCP: take over its connection from this end to port 53, which is complete."""
        self._view.begin_stream(end, leg.glimpse_process())
        self._streams.add(NameStream(self._engine, leg, end, self._settings, self._view, self._streams.discard))

    def resolve_as(self, override: ResolveOverride) -> None:
        """Answer a name ourselves from now on."""
        self._settings.resolve_as(override)

    def close(self) -> None:
        """Answer nothing more; harmless when repeated."""
        if self._timer is not None:
            self._timer.cancel()
        for number in list(self._sockets):
            self._drop(number)
        for stream in list(self._streams):
            stream.close()

    def _perform(self, steps: Sequence[Step]) -> None:
        for step in steps:
            match step:
                case Ask():
                    self._ask(step)
                case Tell(asker, message):
                    self._tell(asker, message)
                case Drop(number):
                    self._drop(number)
        self._await_deadline()

    def _ask(self, step: Ask) -> None:
        sockets = self._sockets.setdefault(step.number, {})
        try:
            asking = sockets.get(step.server)
            if asking is None:
                asking = sockets[step.server] = self._open(step)
            asking.sock.send(step.message)
            self._view.show(UDP, End(*step.asker), asking.sock, step.server, step.message, True)
        except OSError:
            # Later: the caller is in the midst of its steps.
            self._engine.call_soon(partial(self._on_absent, step.number, step.server))

    def _open(self, step: Ask) -> HostSocket:
        number, server = step.number, step.server
        family, kind, _, _, address = socket.getaddrinfo(
            server.host, server.port, type=socket.SOCK_DGRAM, flags=socket.AI_NUMERICHOST
        )[0]
        asking = HostSocket(
            self._engine,
            family,
            kind,
            0,
            partial(self._on_message, step),
            lambda error: self._on_absent(number, server),
        )
        try:
            asking.sock.connect(address)
        except OSError:
            asking.close()
            raise
        asking.watch()
        return asking

    def _on_message(self, step: Ask, data: memoryview, address: SocketAddress) -> None:
        asking = self._sockets[step.number][step.server]
        self._view.show(UDP, End(*step.asker), asking.sock, step.server, data, False)
        self._perform(self._forwarder.on_message(step.number, bytes(data)))

    def _on_absent(self, number: int, server: Endpoint) -> None:
        self._perform(self._forwarder.on_absent(number, server, self._engine.now_s()))

    def _drop(self, number: int) -> None:
        for asking in self._sockets.pop(number, {}).values():
            asking.close()

    def _tell(self, asker: Asker, message: bytes) -> None:
        for address, name in addresses_in(message):
            self._view.name(address, name)
        header = build_udp(self._address, asker.address, PORT, asker.port, message)
        self._send(self._address, asker.address, UDP, header, message)

    def _await_deadline(self) -> None:
        if self._timer is None and (due_s := self._forwarder.next_deadline_s) is not None:
            self._timer = self._engine.call_later(due_s - self._engine.now_s(), self._on_deadline)

    def _on_deadline(self) -> None:
        self._timer = None
        self._perform(self._forwarder.on_deadline(self._engine.now_s()))
