"""The event log as tests read it: a list that can be waited on, and what it says about each flow."""

from __future__ import annotations

import difflib
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from relay.clock import real_s
from relay.errors import ConfigError
from relay.events import Side
from relay.log.record import Record
from relay.log.text import describe
from relay.log.vocabulary import FIELDS, current_causes, current_event

__tracebackhide__ = True  # for pytest: what a test did wrong is in the test's own lines


@dataclass(frozen=True, slots=True)
class FlowStory:
    """One flow, as the event log tells it."""

    number: int
    records: tuple[Record, ...]

    @property
    def destination(self) -> str:
        """What the initiator asked for, HOST:PORT; empty if it never did."""
        return str(self._find("flow-opened").get("destination", ""))

    @property
    def process(self) -> tuple[int, str] | None:
        """Pid and name of the app's process, where the host can tell."""
        return next((record.process for record in self.records if record.process is not None), None)

    @property
    def ending(self) -> Mapping[str, Any] | None:
        """The fields of `flow-ended`, or None while the flow is open."""
        return self._find("flow-ended") or None

    def _find(self, event: str) -> Mapping[str, Any]:
        return next((record.fields for record in self.records if record.event == event), {})


class Records:
    """Everything that has happened; a listener of an event log, to be read from any thread."""

    def __init__(self) -> None:
        self._records: list[Record] = []
        self._changed = threading.Condition(threading.RLock())
        self._over = ""

    def __call__(self, record: Record) -> None:
        with self._changed:
            self._records.append(record)
            self._changed.notify_all()

    def complete(self, over: str) -> None:
        """Nothing more will come, for the reason `over`: waiting calls end."""
        with self._changed:
            self._over = over
            self._changed.notify_all()

    @property
    def is_complete(self) -> bool:
        """Whether nothing more will come."""
        return bool(self._over)

    def demand_more(self) -> None:
        """Insist that more may come: that the relay runs.

        Raises:
            RuntimeError: it has stopped.
        """
        if self._over:
            raise RuntimeError(self._over)

    def snapshot(self) -> list[Record]:
        with self._changed:
            return list(self._records)

    def flows(self) -> list[FlowStory]:
        """Every flow so far, by number."""
        stories: dict[int, list[Record]] = {}
        for record in self.snapshot():
            if record.flow is not None:
                stories.setdefault(record.flow, []).append(record)
        return [FlowStory(number, tuple(records)) for number, records in sorted(stories.items())]

    def wait_for(
        self, event: str, fields: Mapping[str, Any], *, flow: int | None = None, timeout_s: float = 5.0
    ) -> Record:
        """The first record of this event, with these fields and of this flow, once there is one.

        Raises:
            ConfigError: there is no such event, or it has no such field, or there is no such side.
            AssertionError: there was none in time; the message lists what did happen.
        """
        event, fields = current_event(event, stacklevel=2), current_causes(fields, stacklevel=2)
        self.check(event, fields)
        deadline_s = real_s() + timeout_s
        with self._changed:
            while True:
                if (found := self.find(event, fields, flow=flow)) is not None:
                    return found
                if self._over or not self._changed.wait(deadline_s - real_s()):
                    raise self.missed(event, fields, flow=flow, timeout_s=timeout_s)

    def find(self, event: str, fields: Mapping[str, Any], *, flow: int | None = None) -> Record | None:
        """The first record of this event, with these fields and of this flow, if there is one."""
        fields = _with_side(fields)
        with self._changed:
            for record in self._records:
                if record.event == event and flow in {None, record.flow} and fields.items() <= record.fields.items():
                    return record
        return None

    def missed(
        self, event: str, fields: Mapping[str, Any], *, flow: int | None = None, timeout_s: float
    ) -> AssertionError:
        """The error that says what was waited for, how long, and what happened instead."""
        limit = "before the relay stopped" if self._over else f"within {timeout_s:g} s"
        wanted = [f"{name}={value!r}" for name, value in _with_side(fields).items()]
        if flow is not None:
            wanted.append(f"flow={flow}")
        named = f"{event} ({', '.join(wanted)})" if wanted else event
        return AssertionError(f"no {named} {limit}; what happened:\n{as_text(self.snapshot())}")

    @staticmethod
    def check(event: str, fields: Mapping[str, Any]) -> None:
        """Insist that there is such an event, and that it has such fields, and that there is such a side.

        Raises:
            ConfigError: it does not.
        """
        if event not in FIELDS:
            raise ConfigError(f"wait_for: there is no event {str(event)!r}", hint=nearest(event, FIELDS, "the events"))
        for name in fields:
            if name not in FIELDS[event]:
                hint = nearest(name, FIELDS[event], "it has")
                raise ConfigError(f"wait_for: {event} has no field {name!r}", hint=hint)
        _with_side(fields)


def as_text(records: Iterable[Record]) -> str:
    """These records, one indented line each."""
    lines = (
        f"  {record.at_s:8.3f} s  {f'#{record.flow}  ' if record.flow is not None else ''}{describe(record)}"
        for record in records
    )
    return "\n".join(lines) or "  nothing"


def _with_side(fields: Mapping[str, Any]) -> Mapping[str, Any]:
    """The same with a side as the records have it."""
    if "side" not in fields:
        return fields
    return {**fields, "side": Side.named(fields["side"], where="wait_for").value}


def nearest(word: str, known: Iterable[str], what: str) -> str:
    """A hint: the nearest of these names, if one is near, and all of them."""
    names = [str(name) for name in known]
    close = difflib.get_close_matches(word, names, n=1)
    question = f"did you mean {close[0]!r}? " if close else ""
    return f"{question}{what}: {', '.join(names) or 'none'}"
