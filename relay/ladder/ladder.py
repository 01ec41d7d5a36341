"""A flow's ladder: what it was, its steps, and whether it is worth a look."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from relay.causes import Cause
from relay.ladder.step import Kind, Step
from relay.ladder.steps import steps_of
from relay.log import Record
from relay.log.memory import FlowStory
from relay.log.text import describe

_CAUSES = frozenset(str(cause) for cause in Cause)
_ORDINARY = frozenset(
    {
        *("flow-opened", "flow-connected", "dial-failed", "fin-received", "fin-sent", "rst-received", "rst-sent"),
        *("flow-ended", "initiator-vanished", "name-resolved", "handshake-failed", "action-dropped"),
        *("association-opened", "mapping-opened", "bind-opened"),
    }
)
"""What happens to flows behind any NAT."""


class Ladder(FlowStory):
    """One flow; `records` are its own, and those of the whole relay that came in its time."""

    @cached_property
    def steps(self) -> Sequence[Step]:
        """What happened, in order, up to its end, or to that of the log."""
        steps = steps_of(self.records)
        return steps if self.ended else [*steps, Step(Kind.END, None, self.outcome)]

    @property
    def opened(self) -> Mapping[str, Any]:
        """The fields of `flow-opened`; empty if that is not known."""
        return self._find("flow-opened")

    @property
    def ended(self) -> Mapping[str, Any]:
        """The fields of `flow-ended`; empty while the flow is open."""
        return self._find("flow-ended")

    @property
    def destination(self) -> str:
        """What was asked for; empty if nothing was, or that is not known."""
        return str(self.opened.get("destination") or self.ended.get("destination") or "")

    @property
    def address(self) -> str:
        """What the relay connected to; empty if to nothing."""
        return str(self._find("flow-connected").get("address", ""))

    @property
    def carried(self) -> tuple[int, int]:
        """How many bytes, out and in, as far as is known."""
        if ended := self.ended:
            return ended["bytes_out"], ended["bytes_in"]
        of_flow = [record.carried for record in self.records if record.flow is not None]
        return of_flow[-1] if of_flow else (0, 0)

    @property
    def cause(self) -> str:
        """What began its end: a behaviour's name, or a cause; empty while it is open."""
        return str(self.ended.get("because", ""))

    @property
    def by_behaviour(self) -> bool:
        """Whether a behaviour ended it."""
        return bool(self.cause) and self.cause.partition(":")[0] not in _CAUSES

    @property
    def is_remarkable(self) -> bool:
        """Whether it did not end as any flow may: a behaviour ended it or did something to it, or it is open still."""
        own = (record.event for record in self.records if record.flow is not None)
        return self.by_behaviour or not self.ended or any(event not in _ORDINARY for event in own)

    @property
    def title(self) -> str:
        """One line: whose flow it is, and what was asked for."""
        return self._line("flow-opened") or self._line_of(self.records[0])

    @property
    def outcome(self) -> str:
        """One line: how it ended, or that it did not."""
        ended = next((describe(record) for record in self.records if record.event == "flow-ended"), "")
        out, inward = self.carried
        return ended or f"open when the log ends, {out} B out, {inward} B in"

    @property
    def summary(self) -> str:
        """One line for the whole flow."""
        return f"{self._owner}  {self.outcome}"

    @property
    def _owner(self) -> str:
        process = self.process
        return f"#{self.number}" if process is None else f"#{self.number}  {process[1]}[{process[0]}]"

    def _line(self, event: str) -> str:
        return next((self._line_of(record) for record in self.records if record.event == event), "")

    def _line_of(self, record: Record) -> str:
        return f"{self._owner}  {describe(record)}"
