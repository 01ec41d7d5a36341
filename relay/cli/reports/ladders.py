"""`relay ladder`: each flow's ladder, as soon as the flow has ended; in the end those of the flows that are open."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from relay.cli.reports.event_file import complain_of, open_records
from relay.cli.terminal import tell
from relay.errors import ConfigError
from relay.ladder import Ladder, Run
from relay.ladder.text import LadderText, takes_unicode


def show_ladders(source: str, wanted: Sequence[str], *, encoding: str | None, colour: bool) -> None:
    """Print the ladders of the flows with these numbers, or of all, from a file or, for `-`, from stdin.

    Raises:
        ConfigError: the file cannot be read or has nothing to show, or there is no such flow.
    """
    numbers = frozenset(map(_number, wanted))
    shown = _Shown(numbers, LadderText(unicode=takes_unicode(encoding), colour=colour))
    with open_records(source) as reader:
        run = Run()
        for record in reader:
            if record.event == "relay-started":
                shown.rest(run)
                run = Run()
            if (ended := run.take(record)) is not None:
                shown.one(run, ended)
                run.forget(ended.number)
        shown.rest(run)
    complain_of(source, reader)
    if not shown.count:
        raise _no_such_flow(numbers, shown.seen)


class _Shown:
    """What has been printed."""

    def __init__(self, numbers: frozenset[int], text: LadderText) -> None:
        self._numbers = numbers
        self._text = text
        self._run: Run | None = None
        self.count = 0
        self.seen: set[int] = set()

    def one(self, run: Run, ladder: Ladder) -> None:
        self.seen.add(ladder.number)
        if self._numbers and ladder.number not in self._numbers:
            return
        lines = self._text.whole(ladder)
        if run is not self._run:
            lines = [*self._text.paragraph(_head(run)), "", *lines]
        tell("\n".join(lines if self.count == 0 else ["", *lines]), at_once=True)
        self._run = run
        self.count += 1

    def rest(self, run: Run) -> None:
        """Those that have not ended."""
        for ladder in run.ladders:
            self.one(run, ladder)


def _head(run: Run) -> str:
    at = datetime.fromtimestamp(run.began_s or 0.0).astimezone().isoformat(" ", "seconds")
    if not run.started:
        return f"{at}, of a relay that ran already"
    return f"{at}, profile {run.profile}, seed {run.started['seed']}"


def _number(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ConfigError(f"--flow: {text!r} is not a whole number", hint="e.g. --flow 2") from None


def _no_such_flow(numbers: frozenset[int], seen: set[int]) -> ConfigError:
    if not seen:
        return ConfigError("there is no flow in these events", hint="connect through the relay while it writes them")
    wanted = ", ".join(map(str, sorted(numbers)))
    return ConfigError(
        f"--flow: there is no flow {wanted}", hint=f"flows are numbered, here {min(seen)} to {max(seen)}"
    )
