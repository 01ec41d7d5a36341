"""What a provider of facts is, and what it may ask of the engine that runs it.

    provider.attach(socket) --> a watch, or None: this socket cannot be watched by this provider
                                 |
              changed(byte), arrived()  ... close()

Everything happens on the engine's one thread and by plain calls: a watch calls back from a timer or a readable socket
of the `Host`, never from inside `attach`. A watch that is closed never calls back.
"""

from __future__ import annotations

import enum
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Protocol


class Fidelity(enum.Enum):
    """How true to the original something on this host is."""

    EXACT = "exact"
    APPROXIMATE = "approximate"
    IMPOSSIBLE = "impossible"


@dataclass(frozen=True, slots=True)
class Support:
    """What this host gives for one fact.

    `provider` is a provider's name, `kernel sockets`, or `none`. `how` says in one line how it is had, or in what it
    differs from the original; `remedy` what would make it better, if anything would.
    """

    fidelity: Fidelity
    provider: str
    how: str
    remedy: str = ""


class Timer(Protocol):
    """A call that is due."""

    def cancel(self) -> None:
        """Call it off; nothing happens if it was made already."""


class Pollable(Protocol):
    """Something with a descriptor that can become readable: a socket, or a ring."""

    def fileno(self) -> int: ...
    def close(self) -> None: ...


class Host(Protocol):
    """What providers need of the engine: its clock and its poll."""

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> Timer:
        """Call back once, in `delay_s` seconds; 0 is soon, but not before this call returns."""

    def watch_readable(self, sock: Pollable, callback: Callable[[], None]) -> Callable[[], None]:
        """Call back whenever `sock` has got something to read, and return what ends that.

        Edge-triggered: one who does not read until it would block may not be called again.
        """


class TosWatch(Protocol):
    """The TOS byte of one peer's segments."""

    @property
    def asks(self) -> bool:
        """Whether `ask` must be called before each read from and after each write to the socket."""

    def ask(self) -> int | None:
        """Return the TOS byte in force at the peer, if it is another than the last one told (at first: the SYN's)."""

    def release(self) -> None:
        """Withhold no more; the peer's TCP retransmits what was withheld."""

    def close(self) -> None:
        """Watch no more. What is withheld stays so, for the socket's remaining life, unless it was released before."""


class TosProvider(Protocol):
    """Sees when a peer's segments carry another TOS byte than its SYN did."""

    name: ClassVar[str]

    def cover(self, listener: socket.socket, mask: int) -> None:
        """Look at what a listener's connections send before they are watched; with `mask` 0, no more."""

    def attach(
        self,
        sock: socket.socket,
        *,
        syn_tos: int,
        mask: int,
        changed: Callable[[int | None], None],
        accepted: bool = True,
        isn: int | None = None,
    ) -> TosWatch | None:
        """Watch a connected socket whose peer's SYN had the TOS byte `syn_tos`, or return None if that cannot be.

        `accepted`: by a listener of ours; false for a socket that we dialled with. `isn` is the SYN's sequence number:
        what was seen before this call counts only if it is known, as others may have used the same ends. `changed` is
        called with the new byte once segments differ from the SYN in a bit of `mask`, and with None where that much is
        certain but the byte is not known. Providers that ask may tell of other changes as well.
        """

    def close(self) -> None:
        """Close every watch and whatever the provider itself holds open."""


class Watch(Protocol):
    """Something that goes on until it is closed."""

    def close(self) -> None:
        """Watch no more."""


class KeepaliveProvider(Protocol):
    """Sees keepalive probes from a peer."""

    name: ClassVar[str]

    def attach(self, sock: socket.socket, arrived: Callable[[], None]) -> Watch | None:
        """Call `arrived` once for each probe that arrives on a connected socket; None if that cannot be seen."""

    def close(self) -> None:
        """Close every watch and whatever the provider itself holds open."""
