"""What a leg guarantees, and what it needs of the loop that runs it.

A leg is our half of one side of a flow: a kernel's socket (`relay.net.kernel_leg`), a TCP of our own, or one end of a
pair in memory (`relay.testing`). It moves bytes and carries endings; its owner decides what they mean.

    receive_into --> a count of bytes | 0, the peer's FIN | WOULD_BLOCK | BROKEN, and `broken` says by which errno
    write            takes everything; what cannot go now goes later, in order
    finish           FIN behind all that was written; reading goes on
    reset            RST now; what the peer has not acknowledged is lost
    close            the end of the leg; sends nothing if both FINs have passed

A leg calls its owner later, never from inside a call of the owner's; `thaw` alone calls it at once. Nothing here is
thread-safe. Every call returns at once, so a cancellation finds none to interrupt. `relay.testing.check_leg` tests
every guarantee on this page.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, NamedTuple, Protocol, TypeAlias

from relay.abilities import Want
from relay.address import Endpoint
from relay.events import Event, Side

Process: TypeAlias = tuple[int, str]
"""A process's pid and name."""

WOULD_BLOCK = -1
"""What `receive_into` returns when there is nothing to read now."""
BROKEN = -2
"""What `receive_into` returns when the connection has broken, and every byte that came before that was read."""


class PeerSocket(NamedTuple):
    """What is known of the peer's own end of a connection, where this host can look at it. Times are real seconds."""

    unsent_bytes: int
    """How many bytes the peer has written that its kernel has not sent yet."""
    probe_in_s: float | None
    """In how long it sends its next keepalive probe, if it hears nothing until then; None: it sends none."""
    probes_every_s: float | None
    """How often it then sends one, as long as each is answered; None where only the next one's moment is known."""


class Timer(Protocol):
    """A call that is due."""

    def cancel(self) -> None:
        """Cancel the call; harmless at any time."""


class Loop(Protocol):
    """What legs, and those who use them, need of the loop that runs them."""

    buffer: memoryview
    """For one read and what follows from it; its content does not outlast the callback."""

    def now_s(self) -> float:
        """Seconds on a clock that never goes back."""

    def call_soon(self, callback: Callable[[], Any]) -> None:
        """Call back after what is ready now has had its turn."""

    def call_later(self, delay_s: float, callback: Callable[[], Any]) -> Timer:
        """Call back once, in `delay_s` seconds."""


class LegOwner(Protocol):
    """What acts on a leg."""

    def on_leg_ready(self, leg: Any) -> None:
        """The leg can be read, or takes bytes again, or has broken."""


class Witness(Protocol):
    """Gets the events that a leg sees."""

    def on_leg_saw(self, event: Event, withheld: bool) -> None:
        """It is `TosChanged`, `SynUnknown` or `ProbeArrived`; for the first a segment may have been withheld.

        When this returns, the leg lets such a segment through, if it is still watched.
        """


class Leg(Protocol):
    """One side's connection.

    Legal after `close`, `reset` or `forget`: these again, `reset_after_data`, `finish`, `freeze`, `thaw`, `unwatch`,
    `unacked_bytes`, `waiting_bytes`, `unread_bytes`, and reading the attributes; each of them does nothing or says what
    was last known. A closed leg makes no calls.
    """

    owner: LegOwner
    """May be replaced at any time; the next call goes to the new one."""
    readable: bool
    """Whether a read may give anything: bytes, a FIN, or what broke the connection. A read that finds nothing clears
    it, and the owner is called once it is set again."""
    broken: int
    """The errno that ended the connection, once a read or write has met it; 0 before.

    ENOBUFS: the leg has given it up itself, for want of room."""

    @property
    def side(self) -> Side:
        """Which side of the flow it is."""

    @property
    def closed(self) -> bool:
        """Whether this end of the connection is over."""

    @property
    def frozen(self) -> bool:
        """Whether the leg is neither to be read nor written for now; its owner does not read it meanwhile."""

    @property
    def loop(self) -> Loop:
        """What runs it."""

    @property
    def local(self) -> Endpoint | None:
        """Our end's address; None where it is not known any more."""

    @property
    def peer(self) -> Endpoint | None:
        """The peer's address; None where it is not known any more, or never was."""

    @property
    def has_room(self) -> bool:
        """Whether a write would go to the peer at once, as far as is known; the owner is called when it would again.

        A frozen leg has none. A leg without room still takes all that is written: this is how its owner bounds that.
        """

    @property
    def has_unsent(self) -> bool:
        """Whether `close` would lose something that was written."""

    @property
    def timed_out(self) -> bool:
        """Whether what broke the connection was silence, not a RST."""

    def receive_into(self, buffer: memoryview) -> int:
        """Read once: a count, 0 for the peer's FIN, `WOULD_BLOCK`, or `BROKEN`.

        Bytes that came before a FIN or a RST are read before it is found.
        """

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Take in all of `data`, in order with what was written before. The caller may reuse its memory at once.

        After `finish` nothing may be written. What is written to a broken leg counts as not acknowledged from then on.
        """

    def flush(self) -> None:
        """Go on with what was written and could not go, and with a FIN that waits behind it."""

    def finish(self) -> None:
        """Send a FIN after everything that was written. If the peer has sent its own, that is the end of the leg."""

    def reset(self) -> None:
        """Send RST, and end the leg. Harmless when repeated, and after the peer's own RST."""

    def reset_after_data(self) -> None:
        """The same once the peer has acknowledged all that was written, or has taken nothing for a while.

        What the peer sends until then is read and dropped: nothing else may read it.
        """

    def close(self) -> None:
        """End the leg; harmless when repeated.

        The peer gets a FIN, or a RST if bytes of its own were unread. Bytes that `has_unsent` reports are lost, and to
        the peer its stream looks complete: reset the leg instead.
        """

    def find_broken(self) -> bool:
        """Whether the connection has broken, once the peer's FIN was read: a read does not report it then."""

    def unacked_bytes(self) -> int:
        """How many written bytes the peer's end has not acknowledged, as far as is known."""

    def waiting_bytes(self) -> int:
        """How many written bytes have not been sent to the peer yet, though it is near: its window is closed.

        Those for a peer on another host count only as long as they are with the leg itself.
        """

    def unread_bytes(self) -> int:
        """How many bytes have arrived, and were acknowledged, that were not read; 0 where that is not known."""

    def watch(self, wants: Collection[Want], witness: Witness) -> None:
        """See what is wanted from now on, in place of what was wanted before; what that withheld is let through.

        The witness is called later, never from inside this call. What a leg cannot see it is silent about.
        """

    def unwatch(self) -> None:
        """See nothing more. What is withheld stays so."""

    def glimpse_process(self) -> Process | None:
        """The same process if it is found within a fraction of a millisecond; None leaves it open, see `find_process`.

        A program that lives for some milliseconds is named only if it is looked for at once.
        """

    def find_process(self) -> Process | None:
        """The process that has the peer's end, where this host can tell. May block; may be called in any thread."""

    def look_at_peer(self) -> PeerSocket | None:
        """What the peer's own socket is up to; None where that cannot be seen, as on another host."""

    def freeze(self) -> None:
        """Stop writing, and have the owner not read; what the peer sends fills the window, which then closes."""

    def thaw(self) -> None:
        """Go on where `freeze` stopped. The owner is called."""

    def blackhole(self, on: bool) -> bool:
        """Drop everything that the peer sends, unseen and unanswered, as a dead host does; with False, no more.

        Returns whether the leg can do so; if not, nothing has changed.
        """

    def forget(self) -> bool:
        """Drop the connection and send nothing; the peer's next segment is answered with RST.

        Returns whether the leg can do so; if not, nothing has changed.
        """

    def set_keepalive(self, idle_s: int, interval_s: int, count: int) -> None:
        """Probe the peer once it has been silent for `idle_s`, then every `interval_s`.

        Whole seconds, as kernels count them. When `count` probes in a row are unanswered the leg is broken and reports
        `timed_out`.
        """

    def probe(self, answered: Callable[[], None]) -> bool:
        """Ask the peer by a keepalive probe whether it is there; `answered` is called later, once, if it says so.

        What comes from it counts, whatever it is. A peer that was heard within the last second may be asked when that
        is over. When it is asked again meanwhile, one call is the answer to both. Returns whether answers are seen
        here; if not, nothing has happened.
        """

    def answer_probe(self) -> None:
        """Answer the peer's keepalive probe, if it was not answered as it came (`ProbeArrived.answered`)."""

    def limit_window(self, size_bytes: int) -> None:
        """Acknowledge at most about `size_bytes` from the peer that were not read."""
