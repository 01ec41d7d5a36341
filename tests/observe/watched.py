"""A socket under watch, and what all tests of such watches agree on."""

from __future__ import annotations

import socket
from collections.abc import Callable

from observe.conftest import EpollHost, readable
from relay.observe import Provider, Target, Watch, Watcher, syn_of

PRECEDENCE = 0xE0
QUIET_S = 0.05  # longer than any provider takes to tell, shorter than a retransmission

Seen = list[int | None]


def _ignore(_: object = None) -> None:
    pass


class Calls(Watcher):
    """Calls what it is made of."""

    def __init__(self, tos: Callable[[int | None], None] = _ignore, *, probe: Callable[[], None] = _ignore) -> None:
        self._tos, self._probe = tos, probe

    def on_tos(self, tos: int | None) -> None:
        self._tos(tos)

    def on_probe(self) -> None:
        self._probe()


class Watched:
    """A socket under watch, read and written as the driver does: asking before each read and after each write."""

    def __init__(
        self,
        provider: Provider,
        host: EpollHost,
        sock: socket.socket,
        syn_tos: int,
        mask: int,
        *,
        accepted: bool = True,
    ) -> None:
        self.seen: Seen = []
        self.received = b""
        self._host = host
        self._sock = sock
        isn = syn_of(sock).isn if accepted else None
        watch = provider.attach(Target(sock, syn_tos, mask, Calls(self.seen.append), accepted=accepted, isn=isn))
        assert watch is not None
        self.watch: Watch = watch
        self._differs: Callable[[int | None], bool] = lambda tos: tos is None or bool((tos ^ syn_tos) & mask)

    @property
    def offences(self) -> Seen:
        return [tos for tos in self.seen if self._differs(tos)]

    def read(self) -> None:
        if readable(self._sock):
            self._ask()
            if not self.offences:
                self.received += self._sock.recv(65536)

    def write(self, data: bytes) -> None:
        self._sock.send(data)
        self._ask()

    def offended(self) -> bool:
        self.read()
        return bool(self.offences)

    def _ask(self) -> None:
        if self.watch.asks:
            tos = self.watch.ask()
            if tos is not None:
                self.seen.append(tos)
