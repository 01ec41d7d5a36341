"""What a link to a guest offers, whatever it is made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from relay.wire.packet import Buffer


class Readable(Protocol):
    """A descriptor to be watched."""

    def fileno(self) -> int: ...
    def close(self) -> None: ...


class Timer(Protocol):
    """A call that is due."""

    def cancel(self) -> None: ...


class Watching(Protocol):
    """What a link needs of the engine; see `relay.loop.engine.Engine`."""

    def watch_readable(self, sock: Readable, callback: Callable[[], None]) -> Callable[[], None]: ...
    def watch(self, watcher: Any) -> None: ...
    def unwatch_and_close(self, watcher: Any) -> None: ...
    def rearm_read(self, watcher: Any) -> None: ...
    def rearm_write(self, watcher: Any) -> None: ...
    def call_later(self, delay_s: float, callback: Callable[[], None]) -> Timer: ...


class Link(Protocol):
    """A way to and from a guest: datagrams in both directions, each an IP packet or an Ethernet frame.

    No method blocks, and none raises for what goes wrong on the way: as on a wire, what cannot be sent now is lost. A
    link whose device or peer is gone is silent, until it comes back if it can.
    """

    @property
    def name(self) -> str:
        """For people: `tun:tun0`, `qemu:unix:/tmp/guest`."""

    @property
    def mtu(self) -> int:
        """The longest IP packet, in bytes; an Ethernet frame has 14 more."""

    @property
    def ethernet(self) -> bool:
        """Whether it carries Ethernet frames, else bare IP packets."""

    @property
    def offload(self) -> bool:
        """Whether `send` takes super-segments, and TCP segments with a partial checksum (`relay.wire.link.offload`)."""

    @property
    def vouched(self) -> bool:
        """Whether the guest's kernel answers for the TCP checksum of what was received last: it needs no check."""

    @property
    def dropped(self) -> int:
        """How many datagrams were given to `send` and lost."""

    def watch(self, engine: Watching, on_readable: Callable[[], None]) -> None:
        """Have `on_readable` called whenever there may be something to receive, until the link is closed.

        It is an edge: it is not called again before `receive` has returned None.
        """

    def receive(self) -> memoryview | None:
        """Return the next datagram, None if there is none now. It is valid until the next call.

        It may be a super-segment, of up to 64 KiB, also where `offload` is false.
        """

    def send(self, parts: Sequence[Buffer], segment_bytes: int | None = None) -> bool:
        """Send one datagram, made of these parts; return whether it was. False: it is lost, and counted.

        With `segment_bytes`, which takes `offload`, it is a TCP segment over IPv4 without IP options. Its checksum is
        `partial_checksum`, and more than `segment_bytes` of payload are cut into so many each; 0 leaves it whole. The
        last part, and no other, is the payload; it may be empty.
        """

    def close(self) -> None:
        """Give up the descriptor; harmless when repeated. After that nothing is received or sent."""
