"""What a verb of a connection brought about, and the states a connection is in."""

from __future__ import annotations

from enum import Enum, auto
from typing import Final


class Seen:
    """Flags in an integer. (An IntFlag would take a microsecond for each operation.)"""

    READABLE: Final = 1
    """There is something to read."""
    ROOM: Final = 2
    """`has_room` is true again."""
    FIN: Final = 4
    """Everything that the guest sends has arrived."""
    RST: Final = 8
    """The guest reset the connection."""
    TIMED_OUT: Final = 16
    """The guest does not answer any more."""
    ESTABLISHED: Final = 32
    PROBE: Final = 64
    """A keepalive probe came."""
    TOS: Final = 128
    """A marked segment is withheld, and waits for `let_through` or `reset`."""
    CLOSED: Final = 256
    """The connection is over, and may be forgotten."""
    REUSED: Final = 512
    """The segment opens the next connection between the same ports, and was not processed; CLOSED is set, too."""
    PROBE_WAITS: Final = 1024
    """The keepalive probe was not answered, and waits for `answer_probe`; PROBE is set, too."""
    ANSWERED: Final = 2048
    """Something came behind a keepalive probe of ours."""


class State(Enum):
    """RFC 9293's states, and PENDING: a SYN came and is not answered yet."""

    PENDING = auto()
    SYN_SENT = auto()
    SYN_RECEIVED = auto()
    ESTABLISHED = auto()
    FIN_WAIT_1 = auto()
    FIN_WAIT_2 = auto()
    CLOSE_WAIT = auto()
    CLOSING = auto()
    LAST_ACK = auto()
    TIME_WAIT = auto()
    CLOSED = auto()
