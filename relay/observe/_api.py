"""What a provider of abilities is, and what it may ask of the engine that runs it.

A provider is a class. It declares what it gives, how well, and what that takes; it is tried and chosen before there is
an instance (`survey.py`). An instance serves one relay:

    Provider(host).attach(target) --> a watch, or None: there is nothing to see on this socket
                                        |
                           watcher.on_tos(byte), watcher.on_probe()  ... close()

Everything happens on the engine's one thread and by plain calls: a watch calls back from a timer or a readable socket
of the `Host`, never from inside `attach`. A watch that is closed never calls back.
"""

from __future__ import annotations

import enum
import errno
import socket
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

from relay.abilities import Want
from relay.observe.kernel.host import Host
from relay.observe.kernel.privileges import Capability, how_to_get
from relay.observe.kernel.syn import Syn, syn_of

WITHHELD = "the kernel withholds a segment that differs from its SYN, from any peer; IPv4"
"""How a filter gives `Ability.TOS`."""


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


@dataclass(frozen=True, slots=True)
class Offer:
    """What a provider gives for one kind of want, once its self-test has passed."""

    fidelity: Fidelity
    how: str
    """How it is had, or in what it differs from the original; one line. `{why}` stands for why the next better provider
    does not serve."""
    remedy: str = ""
    """What would make it better, where that is not another provider."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a provider cannot be used."""

    reason: str
    errno: int | None = None
    """What the kernel answered, if it was the kernel that refused."""

    @classmethod
    def of(cls, error: Exception) -> Failure:
        """The failure that an exception stands for; its cause has the errno, if it has none itself."""
        origin = error if isinstance(error, OSError) else error.__cause__
        number = origin.errno if isinstance(origin, OSError) else None
        return cls(error.strerror if isinstance(error, OSError) and error.strerror else str(error), number)


class Watcher:
    """Is called with what is seen on a socket."""

    __slots__ = ()

    def on_tos(self, tos: int | None) -> None:
        """The peer's TOS byte differs from its SYN's in a bit of the target's mask.

        None where that much is certain but the byte is not known. Providers that ask may report other changes as well.
        """

    def on_probe(self) -> None:
        """A keepalive probe has arrived."""


_NO_WATCHER = Watcher()


@dataclass(slots=True)
class Target:
    """A connected socket that is to be watched, and who is called with what is seen."""

    sock: socket.socket
    syn_tos: int | None = None
    """The TOS byte of the peer's SYN; None if it is not known, or if no change of it is wanted."""
    mask: int = 0
    """The bits in which a segment must equal the SYN."""
    watcher: Watcher = _NO_WATCHER
    accepted: bool = True
    """By a listener of ours; false for a socket that we dialled with."""
    isn: int | None = None
    """The SYN's sequence number. What was seen before `attach` counts only if this is known, as others may have used
    the same ends."""


class Watch:
    """What a provider sees on one socket, and withholds there."""

    __slots__ = ()

    asks: bool = False
    """Whether `ask` must be called before each read from and after each write to the socket."""

    def ask(self) -> int | None:
        """Return the TOS byte in force at the peer, if it differs from the last one returned (at first: the SYN's)."""
        return None

    def release(self) -> None:
        """Withhold no more; the peer's TCP retransmits what was withheld."""

    def close(self) -> None:
        """Watch no more. What is withheld stays so, for the socket's remaining life, unless it was released before."""


class Provider:
    """Gives legs that are a kernel's sockets some abilities."""

    name: ClassVar[str]
    """What banner and doctor show. Providers that share a name are one mechanism: `--observer` chooses among them."""
    purpose: ClassVar[str] = ""
    """What it sees, how and where, in a few words: for those who must choose an observer."""
    offers: ClassVar[Mapping[Want, Offer]] = MappingProxyType({})
    """Per kind of want."""
    optional: ClassVar[bool] = True
    """Whether `--observer` takes its name, and `--observer none` does without it."""
    capabilities: ClassVar[tuple[Capability, ...]] = ()
    """Without which Linux refuses what it does (EPERM)."""
    requirement: ClassVar[str] = ""
    """What to do about any other failure than a missing capability or descriptor; empty if using another provider is
    the best that can be done."""

    def __init__(self, host: Host) -> None:
        """Start.

        Raises:
            Unsupported: this host lacks what it takes.
        """

    @classmethod
    def self_test(cls) -> Failure | None:
        """Find out whether it works here; the answer is kept where it holds for the life of the process."""
        return None

    @classmethod
    def remedy(cls, failure: Failure) -> str:
        """What to do about a failure of its self-test."""
        if sys.platform != "linux":
            return "use relay on Linux"
        if failure.errno == errno.EMFILE:
            return "raise the limit of descriptors (ulimit -n)"
        if failure.errno in (errno.EPERM, errno.EACCES) and cls.capabilities:
            return how_to_get(cls.capabilities)
        return cls.requirement

    def cover(self, listener: socket.socket, mask: int) -> None:
        """Look at what a listener's connections send before they are watched; with `mask` 0, no more."""

    def syn_of(self, accepted: socket.socket) -> Syn:
        """What is known of the SYN of a connection that was accepted; asked for once."""
        return syn_of(accepted)

    def attach(self, target: Target) -> Watch | None:
        """Watch a connected socket, or return None if it cannot be watched, or need not be."""
        return None

    def blackhole(self, sock: socket.socket, on: bool) -> bool:
        """Have whatever comes for a socket dropped unseen, or no more; False where the host cannot do that."""
        return False

    def vanish(self, sock: socket.socket) -> bool:
        """Have the kernel send nothing when the socket is closed; False where the host cannot."""
        return False

    def probe(self, sock: socket.socket, answered: Callable[[], None]) -> bool:
        """Have the socket's peer asked whether it is there; False where its answer is not seen.

        `answered` is called later and once, unless the socket is closed by then. A peer that is asked again meanwhile
        answers for both.
        """
        return False

    def close(self) -> None:
        """Close every watch and whatever the provider itself holds open."""
