"""What a relay has carried so far: how many flows and bytes, and what acted on how many flows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from relay.address import Endpoint


@dataclass(slots=True)
class Totals:
    """Sums over all flows; a flow that is open counts among `flows` and `open`, and for its bytes once it has ended."""

    flows: int = 0
    open: int = 0
    bytes_out: int = 0
    """Carried from the internal to the external side."""
    bytes_in: int = 0
    """Carried from the external to the internal side."""
    ended_by: Counter[str] = field(default_factory=Counter)
    """By what began the end, a cause or a behaviour: how many flows."""
    acted: Counter[str] = field(default_factory=Counter)
    """By what ended a side of it, a cause or a behaviour: how many flows."""

    forwards_out: Counter[Endpoint] = field(default_factory=Counter)
    """By forward, as where it listens: how much of `bytes_out` came in by it."""
    forwards_in: Counter[Endpoint] = field(default_factory=Counter)
    """Likewise of `bytes_in`."""
    received_out: Counter[Endpoint] = field(default_factory=Counter)
    """By forward: how much has come from the internal side, also what a fault kept from the external one."""
    received_in: Counter[Endpoint] = field(default_factory=Counter)
    """Likewise from the external side."""

    def take_ending(
        self,
        cause: str,
        acted: Iterable[str],
        carried: tuple[int, int],
        received: tuple[int, int],
        forward: Endpoint | None = None,
    ) -> None:
        """Count a flow's end: what began it (empty: nothing did), what ended a side or began the end, each once.

        `carried` and `received` are bytes, out and in.
        """
        bytes_out, bytes_in = carried
        self.bytes_out += bytes_out
        self.bytes_in += bytes_in
        if forward is not None:
            self.forwards_out[forward] += bytes_out
            self.forwards_in[forward] += bytes_in
            self.received_out[forward] += received[0]
            self.received_in[forward] += received[1]
        if cause:
            self.ended_by[cause] += 1
        for name in acted:
            if name:
                self.acted[name] += 1

    def add(self, other: Totals) -> None:
        """Take in another relay's."""
        self.flows += other.flows
        self.open += other.open
        self.bytes_out += other.bytes_out
        self.bytes_in += other.bytes_in
        self.ended_by.update(other.ended_by)
        self.acted.update(other.acted)
        self.forwards_out.update(other.forwards_out)
        self.forwards_in.update(other.forwards_in)
        self.received_out.update(other.received_out)
        self.received_in.update(other.received_in)
